import { MAX_SOURCES, MESH_PREFIX } from "@picket/protocol/ioc";
import { expect, onTestFinished, test } from "vitest";
import { listGenerations } from "../store/iocs.ts";
import { putIoc } from "../store/mesh-received.ts";
import { openStore } from "../store/schema.ts";
import { Imports } from "./imports.ts";
import { MeshLists } from "./mesh.ts";

const NOW = 1_800_000_000_000;

function site() {
  const store = openStore(":memory:");
  onTestFinished(() => store[Symbol.dispose]());
  const clock = { nowMs: NOW, stepMs: 0 };
  const ports = { store, nowMs: () => (clock.nowMs += clock.stepMs), changed: () => {} };
  const imports = new Imports(ports);
  const failures: unknown[] = [];
  const mesh = new MeshLists({ ...ports, imports, report: (error) => void failures.push(error) });
  const shared = (origin: string, value: string, via = "evil") =>
    store.commitNow(() =>
      putIoc(
        store,
        { origin, caHash: "c", via, receivedMs: NOW },
        { kind: "domain", value, confidence: 90, expiresMs: NOW + 86_400_000, source: "lab", sharedMs: NOW },
      ),
    );
  return { store, imports, mesh, failures, shared, clock };
}

test("a peer that vouches for many sites it invented leaves operators their places for lists", async () => {
  const { store, imports, mesh, shared } = site();
  for (let at = 0; at < MAX_SOURCES + 20; at++) shared(`site-${at}`, `c2-${at}.example.org`);
  await mesh.follow();
  expect(listGenerations(store, "on")).toHaveLength(MAX_SOURCES);
  const generation = await imports.begin({ source: "own feed", format: "rows", by: "mira", confidence: 50 });
  await imports.rows(generation, 0, [{ kind: "domain", value: "c2.example.net" }]);
  await imports.finish(generation);
  expect(listGenerations(store, "on").map(({ source }) => source)).toContain("own feed");
  // Nor do operators' lists take those of the mesh.
  for (let at = 1; at < MAX_SOURCES; at++) {
    const own = await imports.begin({ source: `own ${at}`, format: "rows", by: "mira", confidence: 50 });
    await imports.rows(own, 0, [{ kind: "domain", value: `c2-${at}.example.net` }]);
    await imports.finish(own);
  }
  await expect(imports.begin({ source: "one more", format: "rows", by: "mira", confidence: 50 })).rejects.toThrow(`${MAX_SOURCES} lists`);
  expect(listGenerations(store, "on").filter(({ source }) => source.startsWith(MESH_PREFIX))).toHaveLength(MAX_SOURCES);
});

test("a peer that shares something new all the time takes a bounded share of the broker's time", async () => {
  const { store, mesh, shared, clock, failures } = site();
  const made = () => listGenerations(store, "on")[0]!.generation;
  // Each look at the clock is a tenth of a second later: making the list takes long.
  clock.stepMs = 100;
  shared("evil", "c2-0.example.org");
  await mesh.follow();
  const first = made();
  const tookMs = clock.nowMs - NOW;
  clock.stepMs = 0;
  for (let at = 1; at <= 4; at++) {
    shared("evil", `c2-${at}.example.org`);
    clock.nowMs += tookMs;
    await mesh.follow();
  }
  expect(made()).toBe(first);
  clock.nowMs += 20 * tookMs;
  await mesh.follow();
  expect(made()).toBeGreaterThan(first);
  expect(listGenerations(store, "on")).toMatchObject([{ indicators: 5 }]);
  expect(failures).toEqual([]);
});
