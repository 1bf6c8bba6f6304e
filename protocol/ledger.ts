// What became of everything a device caused, in sum and by the hour: `caused` is the sum of all the others. docs/ledger.md
import * as z from "zod";

const count = z.int().nonnegative();

export const LedgerTerms = z.object({
  caused: count,
  stored: count,
  /** Dropped in the kernel, before it had a number. */
  kernel: count,
  /** Let go of by the agent to keep to its share of the machine, before it had a number. */
  shed: count,
  /** Thrown out of the device's full or damaged buffer. */
  evicted: count,
  /** Lost with the device's power, at most: it does not know how far it had counted. */
  power: count,
  /** In batches the site could not read and set aside. */
  refused: count,
  /** Numbered, no longer on the device, never arrived, and nobody said why. */
  unexplained: count,
  /** Numbered, and still to come as far as the site knows. */
  waiting: count,
  /** stored / (stored + lost); absent where there was neither. What waits is neither. */
  ratio: z.number().min(0).max(1).optional(),
});
export type LedgerTerms = z.infer<typeof LedgerTerms>;

/** `hourMs` is the beginning of the hour by the site's clock; 0 stands for all that is older than the ledger. */
export const LedgerHour = LedgerTerms.extend({ hourMs: count });
export type LedgerHour = z.infer<typeof LedgerHour>;

export const Ledger = z.object({
  /** Since the device was enrolled. `evictedHit` and `evictedResult` are parts of `evicted`. */
  totals: LedgerTerms.extend({ evictedHit: count, evictedResult: count }),
  /** Hours in which there was anything, oldest first. */
  hours: z.array(LedgerHour),
});
export type Ledger = z.infer<typeof Ledger>;
