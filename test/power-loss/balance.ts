// The account of a device that lost its power: its numbers, what was on its disk, and the deeds that were done before its eyes. Pure.
import { eventId, type SensorEvent } from "../../protocol/event.ts";
import type { Books } from "../chaos/books.ts";
import { explainMissing, judgeLedger, type Row } from "../chaos/sheet.ts";
import type { Cut } from "./disk.ts";

export type DeviceCut = {
  /** The kernel's id of the run of the machine. */
  readonly boot: string;
  readonly startMs: number;
  /** Whether the site had stopped answering before. */
  readonly isDeaf: boolean;
  readonly disk: Cut;
  /** Done before the power failed, with the machine's time. */
  readonly deeds: readonly { readonly nth: number; readonly atS: number }[];
  /** What the buffer on the disk held after it, as "epoch:seq". */
  readonly onDisk: ReadonlySet<string>;
};

/** A second, until balanced writes what nobody acknowledged, and what an emulated machine takes for a write and to tell us of a deed. */
const MOST_LOST_S = 5;

/** The deeds of a run of the machine that the site knows, by number, each as often as it is in the log. */
export function deedsIn(books: Pick<Books, "events">, boot: string): Map<number, number> {
  const found = new Map<number, number>();
  const mark = `deed-${boot}-`;
  for (const events of books.events.values())
    for (const event of events) {
      const name = event.type === "process.exec" ? event.body.process.argv?.find((word) => word.startsWith(mark)) : undefined;
      if (name === undefined) continue;
      const nth = Number(name.slice(mark.length));
      found.set(nth, (found.get(nth) ?? 0) + 1);
    }
  return found;
}

export type DeviceFacts = { readonly device: string; readonly durability: "balanced" | "strict"; readonly cuts: readonly DeviceCut[] };
/** What each cut cost: deeds nobody will hear of, and how long before the last one the first of them was. */
export type Cost = { readonly deeds: number; readonly seconds: number };

export function accountDevice(
  { device, durability, cuts }: DeviceFacts,
  books: Books,
): { readonly row: Row; readonly costs: readonly Cost[]; readonly differences: string[] } {
  const events = books.events.get(device) ?? [];
  const stored = new Map<string, SensorEvent>();
  const differences: string[] = [];
  for (const event of events) {
    if (stored.has(eventId(event))) differences.push(`${eventId(event)} is in the log twice`);
    stored.set(eventId(event), event);
  }
  const missing: { epoch: string; seq: number }[] = [];
  for (const [epoch, of] of Map.groupBy(stored.values(), (event) => event.epoch)) {
    const have = new Set(of.map(({ seq }) => seq));
    const absent = Array.from({ length: Math.max(books.numbered(device, epoch), ...have) }, (_, seq) => seq).filter(
      (seq) => !have.has(seq),
    );
    missing.push(...absent.map((seq) => ({ epoch, seq })));
    const bound = boundOf(events, epoch);
    if (absent.length > bound) differences.push(`run ${epoch} lacks ${absent.length} numbers, and the device said at most ${bound}`);
    const inside = absent.filter((seq) => seq < Math.max(...have));
    if (durability === "strict" && inside.length > 0)
      differences.push(`run ${epoch} lacks ${inside.join()}, and later ones are stored: it was strict`);
  }
  for (const { onDisk } of cuts)
    for (const id of onDisk)
      if (!stored.has(`${device}:${id}`)) differences.push(`${id} was on the disk after the cut, and is not in the log`);
  const costs = cuts.map((cut) => costOf(cut, deedsIn(books, cut.boot)));
  for (const [at, { deeds, seconds }] of costs.entries())
    if (seconds > MOST_LOST_S) differences.push(`cut ${at + 1} cost ${deeds} deeds, of the last ${seconds.toFixed(1)} s`);
  for (const { boot } of cuts)
    for (const [nth, times] of deedsIn(books, boot))
      if (times > 1) differences.push(`deed ${nth} of ${boot} was done once, and is told ${times} times`);

  const ledger = books.ledger(device);
  const { evicted, power, unexplained } = explainMissing(missing, ledger);
  for (const { epoch, seq } of unexplained) differences.push(`${epoch}:${seq} is neither stored nor counted as lost`);
  for (const what of judgeLedger(ledger, { stored: stored.size, missing: missing.length })) differences.push(`the site ${what}`);
  if (ledger.power > missing.length)
    differences.push(`${missing.length} numbers are missing, and the ledger counts ${ledger.power} lost with the power`);
  return {
    row: {
      device,
      caused: stored.size + missing.length + ledger.kernel + ledger.shed,
      stored: stored.size,
      lost: { kernel: ledger.kernel, shed: ledger.shed, evicted, power },
      unexplained: unexplained.length,
      duplicates: events.length - stored.size,
      acknowledged: 0,
      alerts: { expected: 0, found: 0 },
    },
    costs,
    differences,
  };
}

/** What the device's later runs said of a run: at most so many of its events were lost with the power. */
function boundOf(events: readonly SensorEvent[], epoch: string): number {
  let bound = 0;
  for (const { type, body } of events) if (type === "sensor.lost" && body.epoch === epoch && body.atMost) bound += body.count;
  return bound;
}

/** Deeds count from the first that the site knows: before, the sensor may not have been there. */
function costOf({ deeds }: DeviceCut, told: ReadonlyMap<number, number>): Cost {
  const first = Math.min(...told.keys());
  const lost = deeds.filter(({ nth }) => nth > first && !told.has(nth));
  return { deeds: lost.length, seconds: lost.length === 0 ? 0 : deeds.at(-1)!.atS - lost[0]!.atS };
}
