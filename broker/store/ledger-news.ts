// What a device lost within an hour, as it was told: what the alert about it says. Not the hours it was lost in, which the ledger has.
import { tryParse } from "@picket/protocol/try-parse";
import * as z from "zod";

const count = z.int().nonnegative();
const News = z.object({
  /** Since 1970. */
  hour: count,
  /** What the device did in that time, as far as it told. */
  caused: count,
  lost: count,
  kernel: count,
  shed: count,
  evicted: count,
  power: count,
  unexplained: count,
  /** Of evicted: events with hits, and results of orders. */
  hits: count,
  results: count,
});
type News = z.infer<typeof News>;

/** All loss told in the hour, and how much of it just now. */
export type LossNews = Readonly<News> & { readonly fresh: number };

export const noNews = (hour: number): News => ({
  ...{ hour, caused: 0, lost: 0, kernel: 0, shed: 0, evicted: 0, power: 0, unexplained: 0, hits: 0, results: 0 },
});

/** What was told before in this hour. */
export function readNews(text: string, hour: number): News {
  if (text === "") return noNews(hour);
  const parsed = tryParse(News, JSON.parse(text));
  return parsed.success && parsed.data.hour === hour ? parsed.data : noNews(hour);
}

export function addNews(before: News, more: News): News {
  const sum = { ...before };
  for (const key of Object.keys(sum) as (keyof News)[])
    if (key !== "hour") sum[key] = Math.min(before[key] + more[key], Number.MAX_SAFE_INTEGER);
  return sum;
}
