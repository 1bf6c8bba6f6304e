// A site's log as minutes of its devices, read through the API: what the behaviour model learns from.
import { type Minute, MinuteWindow, minuteOf } from "@picket/models/behaviour/window";
import type { Alert } from "@picket/protocol/alert";
import { eventId } from "@picket/protocol/event";
import type { SiteClient } from "@picket/tui/client/client";
import { plural } from "./output.ts";

/** Minutes kept; of more, whole stretches of ten minutes are left out evenly. */
const MAX_MINUTES = 150_000;
const STRETCH = 10;
const MARGIN_MS = 60_000;
const PAGE = 1000;

export type ReadMinutes = {
  readonly minutes: readonly Minute[];
  /** Minutes with alerts. */
  readonly leftOut: number;
  readonly events: number;
  /** What could not be read completely, in words. */
  readonly truncated: readonly string[];
};

/** Reads all events since a time. Throws `SiteError`. */
export async function readMinutes(site: SiteClient, sinceMs: number, say: (text: string) => void): Promise<ReadMinutes> {
  say("reading alerts");
  const { alerted, truncated } = await readAlerts(site, sinceMs);
  const kept = new Kept();
  const open = new Map<string, { window: MinuteWindow; suspect: boolean }>();
  let events = 0;
  let leftOut = 0;
  let after: number | undefined;
  const close = (device: string) => {
    const of = open.get(device)!;
    open.delete(device);
    if (of.suspect || alerted.during(device, of.window.times)) leftOut++;
    else kept.add(of.window.summary());
  };
  for (;;) {
    const page = await site.call("events", { query: { sinceMs, limit: PAGE, ...(after === undefined ? {} : { after }) } });
    for (const event of page.events) {
      const minute = minuteOf(event.receivedMs ?? event.timeMs);
      if (open.has(event.device) && open.get(event.device)!.window.minute !== minute) close(event.device);
      let of = open.get(event.device);
      if (!of) {
        of = { window: new MinuteWindow(event.device, minute), suspect: false };
        open.set(event.device, of);
      }
      of.window.add(event, "");
      of.suspect ||= alerted.has(eventId(event));
    }
    events += page.events.length;
    if (page.events.length === 0 && page.after === after) break;
    after = page.after;
    say(`reading: ${events.toLocaleString("en")} events, ${kept.minutes.length.toLocaleString("en")} minutes`);
  }
  // The last minute of each device is not over yet.
  return { minutes: kept.minutes, leftOut, events, truncated };
}

class Kept {
  minutes: Minute[] = [];
  /** One stretch of 2 ** this is kept. */
  #halved = 0;

  add(minute: Minute): void {
    if (this.#halved > 0 && !this.#stays(minute)) return;
    this.minutes.push(minute);
    while (this.minutes.length > MAX_MINUTES) {
      this.#halved++;
      this.minutes = this.minutes.filter((one) => this.#stays(one));
    }
  }

  #stays({ device, minute }: Minute): boolean {
    return Bun.hash.xxHash32(`${device} ${Math.floor(minute / STRETCH)}`) % 2 ** this.#halved === 0;
  }
}

type Alerted = { has(id: string): boolean; during(device: string, times: { firstMs: number; lastMs: number }): boolean };

/** What no model should take for usual. An alert of the behaviour model that was closed is somebody's word that it was harmless. */
const counts = ({ rule, status }: Alert) => rule.id !== "picket-model-behaviour" || status !== "closed";

async function readAlerts(site: SiteClient, sinceMs: number): Promise<{ alerted: Alerted; truncated: string[] }> {
  const ids = new Set<string>();
  const times = new Map<string, { firstMs: number; lastMs: number }[]>();
  const truncated: string[] = [];
  for (const { id: device } of (await site.call("devices")).devices) {
    const { alerts } = await site.call("alerts", { query: { device, sinceMs, limit: PAGE } });
    if (alerts.length === PAGE)
      truncated.push(`${device} has more than ${plural(PAGE, "alert")}: minutes of the older ones are learnt from; use a later --since`);
    for (const alert of alerts.filter(counts)) {
      for (const id of alert.events) ids.add(id);
      const of = times.get(device) ?? [];
      times.set(device, of);
      of.push({ firstMs: alert.firstMs - MARGIN_MS, lastMs: alert.lastMs + MARGIN_MS });
    }
  }
  return {
    truncated,
    alerted: {
      has: (id) => ids.has(id),
      during: (device, { firstMs, lastMs }) => (times.get(device) ?? []).some((of) => of.firstMs <= lastMs && of.lastMs >= firstMs),
    },
  };
}
