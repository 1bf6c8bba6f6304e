import { expect, test } from "vitest";
import { until } from "../testing/site.ts";
import { detectionAt, joinSites, meshSite } from "./testing/sites.ts";

/** Asks until the answer is good. */
const some = <T>(ask: () => Promise<T>, good: (answer: T) => boolean): Promise<T> =>
  until(async () => {
    const answer = await ask();
    return good(answer) ? { answer } : undefined;
  }, String(good)).then(({ answer }) => answer);

const ids = (alerts: readonly { id: string }[]) => alerts.map(({ id }) => id).sort();

test("an alert of one site is shown at its peer with its origin, once, and grows there", async () => {
  await using north = await meshSite("north");
  await using south = await meshSite("south");
  await joinSites(south, north);
  const first = detectionAt("north", { summary: "one" });
  const other = detectionAt("south");
  await north.raise(first);
  await south.raise(other);
  const [seen] = await some(
    () => south.alerts("mesh"),
    (alerts) => alerts.length === 1,
  );
  expect(seen).toMatchObject({ id: first.id, device: "gw-014", origin: { site: "north", via: "north", trust: "peer" }, status: "open" });
  await until(async () => ids(await north.alerts("mesh")).includes(other.id), "south's alert at north");
  expect(ids(await south.alerts("own"))).toEqual([other.id]);

  await north.raise({ ...first, revision: 3, count: 9, summary: "nine" });
  const [grown] = await some(
    () => south.alerts("mesh"),
    (alerts) => alerts[0]?.count === 9,
  );
  expect(grown).toMatchObject({ id: first.id, summary: "nine" });
  const { peers } = await north.status();
  expect(peers).toMatchObject([{ site: "south", state: "connected", lag: 0, lost: 0, refused: {}, muted: false }]);
});
