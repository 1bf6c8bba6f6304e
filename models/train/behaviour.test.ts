import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { loadRuntime, Tensor } from "../../detector/engines/onnx/runtime.ts";
import { FEATURES } from "../behaviour/features.ts";
import { decodeModel, encodeModel, type ModelFiles } from "../behaviour/files.ts";
import { learn } from "../behaviour/learn.ts";
import { energyColumns, energyOf } from "../behaviour/network.ts";
import { startFiles } from "../behaviour/start.ts";
import { scenarios } from "./behaviour-attacks.ts";
import { worseRows } from "./behaviour-card.ts";
import { DAY } from "./behaviour-device.ts";
import { evaluate, minutesOf } from "./behaviour-evaluate.ts";
import { syntheticSite } from "./behaviour-profiles.ts";
import { learnStart } from "./behaviour-start.ts";
import { randomOf } from "./random.ts";

const trained = { site: "lab", atMs: null, minutes: 1, devices: 1, from: 0, to: 0, leftOut: 0 };
const minutes = () => syntheticSite(5, 4, []).flatMap((device) => minutesOf(device, 0, DAY / 2));
const learnt = learn(minutes());
const files = encodeModel(learnt, trained);

test("the same seed learns the same files; another seed others", () => {
  const hash = (of: ModelFiles) => Object.values(of).map((bytes) => Bun.hash(bytes));
  expect(hash(encodeModel(learn(minutes()), trained))).toEqual(hash(files));
  const start = (seed: number) => hash(encodeModel(learnStart({ seed, devices: 4, days: 0.2, recorded: [] }).learnt, trained));
  expect(start(1)).toEqual(start(1));
  expect(start(1)).not.toEqual(start(2));
});

test("ONNX computes what training computed", () => {
  using session = loadRuntime().open(files["model.onnx"]);
  const random = randomOf(3);
  const rows = Float32Array.from({ length: 50 * FEATURES }, () => (random() - 0.3) * 12);
  const { energy, parts } = session.run({ features: new Tensor("float32", rows, [50, FEATURES]) });
  expect(parts!.dims).toEqual([50, FEATURES]);
  for (let row = 0; row < 50; row++)
    for (const [column, regime] of energyColumns.entries()) {
      const expected = energyOf(learnt.network, regime, rows.subarray(row * FEATURES, (row + 1) * FEATURES));
      expect((energy!.data as Float32Array)[row * energyColumns.length + column]! / expected).toBeCloseTo(1, 3);
    }
});

test("what was written is read again; a changed byte of any file is refused", () => {
  const model = decodeModel(files);
  expect(model.trained).toEqual(trained);
  expect([...model.devices.keys()]).toEqual([...learnt.devices.keys()].sort());
  expect(model.site).toEqual(learnt.site);
  expect(model.calibration).toEqual(learnt.calibration);
  for (const name of ["model.onnx", "tables.json"] as const) {
    const bytes = Uint8Array.from(files[name]);
    bytes[bytes.length >> 1]! ^= 1;
    expect(() => decodeModel({ ...files, [name]: bytes })).toThrow(`${name} is damaged`);
  }
});

test("the model Picket ships can be read and computed, and knows no device", async () => {
  const start = await startFiles();
  const model = decodeModel(start);
  expect([model.trained.site, model.devices.size, model.calibration.own]).toEqual(["start", 0, undefined]);
  using session = loadRuntime().open(start["model.onnx"]);
  expect(session.inputs).toEqual(["features"]);
});

test("the recorded work names no machine", () => {
  const text = readFileSync(new URL("./behaviour-recorded.ndjson", import.meta.url), "utf8");
  expect(text).not.toMatch(/"\/(?:work|root)\//);
  expect(new Set([...text.matchAll(/"ip":"([^"]+)"/g)].map(([, ip]) => ip))).toEqual(new Set(["127.0.0.1"]));
});

test("every attack is found on devices that were learnt, and the card names what the baseline finds more of", () => {
  const { rows } = evaluate({
    seeds: [11],
    devices: 4,
    strangers: 1,
    trainDays: 1,
    testDays: 0.5,
    recorded: [],
    start: learnStart({ seed: 1, devices: 4, days: 0.3, recorded: [] }).learnt,
  });
  const own = rows.filter(({ past }) => past === "own");
  expect(own.map(({ scenario }) => scenario)).toEqual(Object.keys(scenarios));
  for (const { scenario, model } of own) expect(model[0], scenario).toBeGreaterThan(0.5);
  expect(worseRows([{ past: "own", scenario: "x", attacks: 2, model: [1, 0.5, 0], baseline: [1, 0.6, 0], atBudget: 0 }])).toEqual([
    "own, x, at 0.0003: 0.500 < 0.600",
  ]);
  expect(worseRows([{ past: "own", scenario: "x", attacks: 2, model: [1, 0.5, 0], baseline: [1, 0.6, 0], atBudget: 0 }], 2)).toEqual([]);
});
