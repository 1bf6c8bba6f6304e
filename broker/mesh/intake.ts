// A message of items, from the wire to the disk.
import type { SentItem } from "@picket/protocol/mesh";
import { getPeer, noteReceived, noteRefused } from "../store/mesh.ts";
import { type Judged, type JudgePorts, judge, settle, type Taken } from "./judge.ts";

/**
 * Takes or refuses each item; on disk when it resolves, together with how far the peer's log was read. Undefined when the peer was removed
 * meanwhile: then nothing of it counts any more.
 */
export async function takeIn(
  ports: JudgePorts,
  via: string,
  items: readonly SentItem[],
  of: { log: string; pos: number },
): Promise<Taken | undefined> {
  const { store, nowMs } = ports;
  const { judged, early } = await judgeAll(ports, via, items);
  return store.commitSoon(() => {
    if (!getPeer(store, via)) return undefined;
    const { alerts, ...late } = settle(ports, via, judged);
    const refused = [...early.refused, ...late.refused];
    const news = early.news + late.news;
    noteReceived(store, via, { ...of, news, nowMs: nowMs() });
    for (const [why, all] of Map.groupBy(refused, (one) => one)) noteRefused(store, via, why, all.length);
    return { news, alerts, refused };
  });
}

const none: Taken = { news: 0, alerts: [], refused: [] };

/** An item may come in one message with the introduction of its site: then it is judged once that is stored. */
async function judgeAll(ports: JudgePorts, via: string, items: readonly SentItem[]): Promise<{ judged: Judged[]; early: Taken }> {
  const { store } = ports;
  const judged = await Promise.all(items.map((item) => judge(ports, via, item)));
  const introductions = judged.filter((one) => "fresh" in one && one.fresh.item.kind === "site");
  if (introductions.length === 0 || !judged.some(isStranger)) return { judged, early: none };
  const early = await store.commitSoon(() => (getPeer(store, via) ? settle(ports, via, introductions) : none));
  const rest = items.flatMap((item, at) => {
    const one = judged[at]!;
    if (introductions.includes(one)) return [];
    return isStranger(one) ? judge(ports, via, item) : one;
  });
  return { judged: await Promise.all(rest), early };
}

const isStranger = (one: Judged) => "refused" in one && one.refused === "unknown-origin";
