// What the behaviour model says of recorded events: each has the score of the minute of its device in which it was received.
import { MinuteWindow, minuteOf } from "@picket/models/behaviour/window";
import type { SensorEvent } from "@picket/protocol/event";
import type { Recorded } from "@picket/protocol/recorded";
import type { BehaviourModels } from "./behaviour-models.ts";

/** Events held until their minute is over; past it the oldest minutes are scored as they are. */
const MAX_HELD = 100_000;
/** A device's minute is over when any device is this many minutes on. */
const PATIENCE = 2;

type Open = { readonly window: MinuteWindow; score: number | undefined };

/** Scores events in their order, one result each. */
export async function* scoreMinutes(
  models: BehaviourModels,
  events: AsyncIterable<Recorded>,
  receivedOf: (event: SensorEvent) => number,
): AsyncGenerator<{ id: string; score: number }> {
  const open = new Map<string, Open>();
  const held: { readonly id: string; readonly of: Open }[] = [];
  let from = 0;
  let nowMinute = 0;
  const close = (which: (of: Open) => boolean) => {
    const closing = [...open.values()].filter(which);
    const judged = models.judge(closing.map(({ window }) => window.summary()));
    for (const [at, of] of closing.entries()) {
      of.score = judged[at]!.score;
      open.delete(of.window.device);
    }
  };
  function* ready() {
    for (; from < held.length && held[from]!.of.score !== undefined; from++) yield { id: held[from]!.id, score: held[from]!.of.score! };
    if (from < 1000 || from * 2 < held.length) return;
    held.splice(0, from);
    from = 0;
  }
  for await (const { id, event } of events) {
    const minute = minuteOf(receivedOf(event));
    const there = open.get(event.device);
    if (there && there.window.minute !== minute) close((of) => of === there);
    if (minute > nowMinute) {
      nowMinute = minute;
      close(({ window }) => nowMinute - window.minute > PATIENCE);
    }
    let of = open.get(event.device);
    if (!of) {
      of = { window: new MinuteWindow(event.device, minute), score: undefined };
      open.set(event.device, of);
    }
    of.window.add(event, id);
    held.push({ id, of });
    if (held.length - from > MAX_HELD) close(() => true);
    yield* ready();
  }
  close(() => true);
  yield* ready();
}
