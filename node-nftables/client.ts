import * as z from "zod";
import type { Command, Family } from "./command.ts";
import { NftError } from "./error.ts";
import { type Run, type RunOptions, spawnNft } from "./run.ts";
import { identifier } from "./value.ts";

const inTable = { family: z.string(), table: z.string(), handle: z.number().optional() };
const ListedTable = z.object({ family: z.string(), name: z.string(), handle: z.number().optional() });
const ListedChain = z.object({
  ...inTable,
  name: z.string(),
  type: z.string().optional(),
  hook: z.string().optional(),
  prio: z.number().optional(),
  policy: z.string().optional(),
});
const ListedRule = z.object({
  ...inTable,
  chain: z.string(),
  handle: z.number(),
  comment: z.string().optional(),
  expr: z.array(z.record(z.string(), z.unknown())),
});
// Elements come in many shapes (addresses, prefixes, ranges, {elem: {val, timeout}}): handed on as they are.
const ListedSet = z.object({ ...inTable, name: z.string(), type: z.unknown(), elem: z.array(z.unknown()).optional() });
const ListedCounter = z.object({ ...inTable, name: z.string(), packets: z.number(), bytes: z.number() });
const Listing = z.object({ nftables: z.array(z.record(z.string(), z.unknown())) });

/** One table as the kernel has it. What this package does not know (flowtables, quotas...) is left out. */
export type TableListing = {
  readonly table: z.infer<typeof ListedTable>;
  readonly chains: readonly z.infer<typeof ListedChain>[];
  readonly rules: readonly z.infer<typeof ListedRule>[];
  readonly sets: readonly z.infer<typeof ListedSet>[];
  readonly counters: readonly z.infer<typeof ListedCounter>[];
};

export type Nft = {
  /** Applies the commands as one transaction: all of them, or none. Throws `NftError`. */
  apply(commands: readonly Command[]): Promise<void>;
  /** Asks nft and the kernel whether `apply` would work, changing nothing (nft -c). Throws `NftError` when not. */
  check(commands: readonly Command[]): Promise<void>;
  /** One table, or undefined when there is none. Throws `NftError`. */
  list(family: Family, table: string): Promise<TableListing | undefined>;
  /** Family and name of every table. Throws `NftError`. */
  tables(): Promise<readonly z.infer<typeof ListedTable>[]>;
};

/** A client of the nft program's JSON interface, libnftables-json(5). Needs nft 1.0.6 or newer and CAP_NET_ADMIN. */
export function openNft(options: RunOptions & { readonly run?: Run } = {}): Nft {
  const run = options.run ?? spawnNft(options);

  async function send(flags: readonly string[], nftables: readonly unknown[]): Promise<string> {
    const { code, stdout, stderr } = await run(["-j", ...flags, "-f", "-"], JSON.stringify({ nftables }));
    if (code === 0) return stdout;
    throw new NftError("rejected", `nft: ${plain(stderr) || `ended with ${code === null ? "a signal" : `code ${code}`}`}`);
  }

  const tables = async () => pick(readListing(await send([], [{ list: { tables: null } }])), "table", ListedTable);

  return {
    apply: async (commands) => void (commands.length > 0 && (await send([], commands))),
    check: async (commands) => void (commands.length > 0 && (await send(["-c"], commands))),
    tables,
    async list(family, name) {
      // "No such table" and "no permission" read alike in nft's messages, so ask for existence first.
      if (!(await tables()).some((table) => table.family === family && table.name === name)) return undefined;
      const items = readListing(await send([], [{ list: { table: { family, name: identifier(name) } } }]));
      const table = pick(items, "table", ListedTable)[0];
      if (!table) return undefined;
      return {
        table,
        chains: pick(items, "chain", ListedChain),
        rules: pick(items, "rule", ListedRule),
        sets: pick(items, "set", ListedSet),
        counters: pick(items, "counter", ListedCounter),
      };
    },
  };
}

function readListing(stdout: string): readonly Record<string, unknown>[] {
  try {
    return Listing.parse(JSON.parse(stdout)).nftables;
  } catch (cause) {
    throw new NftError("bad-output", `nft did not answer with a JSON listing: ${JSON.stringify(stdout.slice(0, 120))}`, { cause });
  }
}

function pick<T>(items: readonly Record<string, unknown>[], kind: string, type: z.ZodType<T>): T[] {
  return items
    .filter((item) => kind in item)
    .map((item) => {
      const parsed = type.safeParse(item[kind]);
      if (parsed.success) return parsed.data;
      throw new NftError("bad-output", `nft listed a ${kind} that cannot be read: ${z.prettifyError(parsed.error).slice(0, 300)}`);
    });
}

/** nft's message without the "internal:0:0-0: Error: " that JSON input gives every line. */
const plain = (stderr: string) =>
  stderr
    .split("\n")
    .map((line) => line.replace(/^internal:\d+:\d+-\d+: (?:Error: )?/, "").trim())
    .filter((line) => line !== "")
    .join("; ")
    .slice(0, 1000);
