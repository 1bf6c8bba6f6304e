import type { Sighting } from "@picket/protocol/feed";
import { expect, test } from "vitest";
import {
  markJudged,
  nextNews,
  sampleArrived,
  sampleRefused,
  sampleTotals,
  saveSightings,
  saveVerdicts,
  setSamplePack,
  verdictOf,
  wantedOf,
} from "./samples.ts";
import { openStore } from "./schema.ts";

const hash = (n: number) => String(n).padStart(64, "0");
const seen = (device: string, n: number, more: Partial<Sighting> = {}): Sighting => ({
  ...{ device, sha256: hash(n), path: "/tmp/x", executed: false, event: "e", timeMs: 1 },
  ...more,
});
const match = { rule: "r", title: "R", severity: "high" as const, score: 1, attack: { tactics: [], techniques: [] }, why: "" };
const bad = (n: number, pack = "p") => ({ sha256: hash(n), pack, matches: [match] });

test("a device that invents hashes forgets its own, which is counted, and nobody else's", () => {
  using store = openStore(":memory:");
  saveSightings(store, [seen("quiet", 1)], 1);
  for (let from = 0; from < 25_000; from += 1000)
    store.commitNow(() =>
      saveSightings(
        store,
        Array.from({ length: 1000 }, (_, at) => seen("loud", 1_000_000 + from + at)),
        2,
      ),
    );
  const { wanted, forgotten } = sampleTotals(store);
  expect(wanted).toBeLessThanOrEqual(20_001);
  expect(wanted + forgotten).toBe(25_001);
  expect(wantedOf(store, "quiet", 9)).toEqual([hash(1)]);
});

test("what lies outside of the folders of packages comes first, then what was written there, then what runs there", () => {
  using store = openStore(":memory:");
  const paths = ["/usr/bin/ls", "/usr/bin/new", "/usr/local/bin/tool", "/tmp/a", "/memfd:x"];
  saveSightings(
    store,
    paths.map((path, n) => seen("gw", n, { path, executed: path === "/usr/bin/ls" })),
    1,
  );
  expect(wantedOf(store, "gw", 9)).toEqual([2, 3, 4, 1, 0].map(hash));
});

test.each(["gone", "too-big"] as const)("a device that says a file is %s keeps nobody from asking the next one for it", (why) => {
  using store = openStore(":memory:");
  saveSightings(store, [seen("hostile", 1)], 1);
  sampleRefused(store, hash(1), "hostile", why);
  saveSightings(store, [seen("gw", 1)], 2);
  expect([wantedOf(store, "hostile", 9), wantedOf(store, "gw", 9)]).toEqual([[], [hash(1)]]);
});

test("gone is what nobody has any more; seen again, it is wanted again", () => {
  using store = openStore(":memory:");
  saveSightings(store, [seen("a", 1), seen("b", 1)], 1);
  sampleRefused(store, hash(1), "a", "gone");
  expect([wantedOf(store, "a", 9), wantedOf(store, "b", 9), sampleTotals(store).wanted]).toEqual([[], [hash(1)], 1]);
  sampleRefused(store, hash(1), "b", "gone");
  expect(sampleTotals(store).wanted).toBe(0);
  saveSightings(store, [seen("a", 1)], 2);
  expect(wantedOf(store, "a", 9)).toEqual([hash(1)]);
});

test("a verdict counts for whoever had the file and whoever comes to have it; judged is judged", () => {
  using store = openStore(":memory:");
  setSamplePack(store, "p");
  saveSightings(store, [seen("a", 1)], 1);
  sampleArrived(store, hash(1), 10, 1);
  expect(nextNews(store)).toBeUndefined();
  saveVerdicts(store, [bad(1), bad(2)]);
  expect([verdictOf(store, hash(1))?.matches, verdictOf(store, hash(2))]).toEqual([[match], undefined]);
  saveSightings(store, [seen("b", 1, { process: { pid: 1, startTicks: 1, ppid: 1, uid: 0, exe: "/x", argv: [] } })], 2);
  const news = nextNews(store)!;
  expect(news.sightings).toEqual([seen("a", 1), expect.objectContaining({ device: "b", process: expect.objectContaining({ exe: "/x" }) })]);
  const judged = news.sightings.map(({ device }) => ({ device, sha256: hash(1), pack: "p" }));
  markJudged(store, judged);
  expect(nextNews(store)).toBeUndefined();
  saveVerdicts(store, [bad(1, "p2")]);
  markJudged(store, judged);
  expect(nextNews(store)?.verdict.pack).toBe("p2");
});
