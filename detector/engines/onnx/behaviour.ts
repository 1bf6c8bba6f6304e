// The engine that says how unusual a device's last minute was. A minute is judged when the device's next one begins.
import { rateAt } from "@picket/models/behaviour/calibration";
import { explain } from "@picket/models/behaviour/reasons";
import { MINUTE_MS, MinuteWindow, minuteOf } from "@picket/models/behaviour/window";
import type { Engine, EventBatch, Finding, Findings, RuleFacts } from "../../finding.ts";
import { WINDOW_MS } from "../../freshness.ts";
import type { BehaviourModels, Judged } from "./behaviour-models.ts";

/**
 * A minute that ended longer ago is not judged, and not remembered. Minutes. One less than the minutes a restarted detector reads again in full:
 * it then knows exactly the minutes that the one before knew.
 */
const MEMORY = WINDOW_MS / MINUTE_MS - 2;
/** By the model Picket ships a device is only told unusual when it differs from its own minutes just before. At least so many must be known. */
const MINUTES_BEFORE = 3;
const FAR_RARER = 100;

const rule = (level: RuleFacts["level"], score: number): RuleFacts => ({
  id: "picket-model-behaviour",
  title: "Unusual minute of a device",
  level,
  attack: { tactics: [], techniques: [] },
  score,
  alerts: true,
});
const unusual = rule("medium", 50);
const veryUnusual = rule("high", 70);
const byStart = rule("low", 30);

type Memory = {
  window: MinuteWindow | undefined;
  /** Energies of minutes before, newest last. */
  readonly before: { readonly minute: number; readonly energy: number }[];
};
type Closed = {
  readonly window: MinuteWindow;
  readonly memory: Memory;
  readonly at: number;
  readonly nowMinute: number;
  readonly timeMs: number;
};

/** For one session of the feed: what it remembers is rebuilt by the silent re-read. Memory is bounded by the devices and by `MAX_KEYS` of a minute. */
export function behaviourEngine(models: BehaviourModels): Engine {
  const devices = new Map<string, Memory>();
  let sweptMinute = 0;

  function close({ events, arrivals }: EventBatch): Closed[] {
    const closed: Closed[] = [];
    for (const [at, event] of events.entries()) {
      const { id, receivedMs } = arrivals[at]!;
      const minute = minuteOf(receivedMs);
      const memory = memoryOf(devices, event.device);
      const { window } = memory;
      if (window && minute !== window.minute) {
        // A broker's clock that went back a little goes on in the minute it had reached.
        if (minute > window.minute ? minute - window.minute <= MEMORY : window.minute - minute > MEMORY) {
          if (minute > window.minute) closed.push({ window, memory, at, nowMinute: minute, timeMs: event.timeMs });
          memory.window = undefined;
        } else if (minute > window.minute) memory.window = undefined;
      }
      memory.window ??= new MinuteWindow(event.device, minute);
      memory.window.add(event, id);
    }
    const last = arrivals.at(-1);
    if (last) sweep(minuteOf(last.receivedMs));
    return closed;
  }

  /** Devices that fell silent: what they did can no longer be judged. */
  function sweep(nowMinute: number): void {
    if (nowMinute === sweptMinute) return;
    sweptMinute = nowMinute;
    for (const [device, { window }] of devices) if (!window || Math.abs(nowMinute - window.minute) > MEMORY) devices.delete(device);
  }

  return {
    name: "behaviour",
    judge(batch) {
      models.refresh();
      const closed = close(batch);
      if (closed.length === 0) return undefined;
      const judged = models.judge(closed.map(({ window }) => window.summary()));
      const findings = new Map<number, Finding[]>();
      for (const [index, one] of closed.entries()) {
        const finding = remember(one, judged[index]!);
        if (finding) findings.set(one.at, [finding]);
      }
      return findings.size === 0 ? undefined : Promise.resolve<Findings>(findings);
    },
  };
}

function memoryOf(devices: Map<string, Memory>, device: string): Memory {
  let memory = devices.get(device);
  if (!memory) {
    memory = { window: undefined, before: [] };
    devices.set(device, memory);
  }
  return memory;
}

function remember({ window, memory, nowMinute, timeMs }: Closed, judged: Judged): Finding | undefined {
  const { before } = memory;
  while (before.length > 0 && nowMinute - before[0]!.minute > MEMORY) before.shift();
  const jump = before.length >= MINUTES_BEFORE && before.every(({ energy }) => isFarRarer(judged, energy));
  before.push({ minute: window.minute, energy: judged.energy });
  if (judged.energy < judged.threshold || (judged.basis === "start" && !jump)) return undefined;
  return findingOf(window, judged, timeMs);
}

const isFarRarer = ({ calibration, energy }: Judged, than: number): boolean =>
  rateAt(calibration.share, energy) * FAR_RARER <= rateAt(calibration.share, than);

function findingOf(window: MinuteWindow, judged: Judged, timeMs: number): Finding {
  const { reasons, eventIds } = explain(window, judged.past, judged.scale, judged.parts);
  const why = reasons.length > 0 ? reasons.join("; ") : "many things are a little unusual at once";
  return {
    engine: "onnx",
    rule: ruleOf(judged),
    group: "device",
    about: "device",
    before: { eventIds, firstMs: Math.max(window.times.firstMs, timeMs - WINDOW_MS) },
    summary: `The minute ${clockOf(window.minute)} UTC was unusual ${comparedWith[judged.basis]} (score ${judged.score}): ${why}`,
  };
}

const comparedWith = {
  own: "for this device",
  stranger: "for this site (the device is not learnt yet)",
  start: "for a device (nothing is learnt here yet)",
};

function ruleOf({ basis, calibration, energy, threshold }: Judged): RuleFacts {
  if (basis === "start") return byStart;
  return rateAt(calibration.alerts, energy) * FAR_RARER <= rateAt(calibration.alerts, threshold) ? veryUnusual : unusual;
}

function clockOf(minute: number): string {
  const ofDay = minute % 1440;
  const two = (value: number) => String(value).padStart(2, "0");
  return `${two(Math.floor(ofDay / 60))}:${two(ofDay % 60)}`;
}
