// A model as files: model.onnx (the network), tables.json (pasts, scales, thresholds) and manifest.json, which names both by hash: half a model is no model.
import * as z from "zod";
import type { Calibration } from "./calibration.ts";
import { FEATURES, featureNames } from "./features.ts";
import { kinds } from "./keys.ts";
import type { Learnt } from "./learn.ts";
import { networkToOnnx } from "./network.ts";
import type { Frequencies, Table } from "./past.ts";
import type { Scale } from "./scale.ts";

/** Changed when features, keys or files change: a model of another format is refused. */
const FORMAT = "picket-behaviour-1";
/** Larger files are not read. Bytes. */
export const MAX_FILE_BYTES = 256 << 20;

export const modelFiles = ["model.onnx", "tables.json", "manifest.json"] as const;
export type ModelFiles = Readonly<Record<(typeof modelFiles)[number], Uint8Array>>;

/** What a model was learnt from. */
export const Trained = z.object({
  /** Where: a site's name, or "start" for the model Picket ships. */
  site: z.string().max(64),
  /** Milliseconds; null for the model Picket ships. */
  atMs: z.int().nonnegative().nullable(),
  minutes: z.int().positive(),
  devices: z.int().nonnegative(),
  /** First and last minute since 1970. */
  from: z.int().nonnegative(),
  to: z.int().nonnegative(),
  /** Left out because of alerts. */
  leftOut: z.int().nonnegative(),
});
export type Trained = z.infer<typeof Trained>;

/** A model without its network, which only the ONNX runtime reads. */
export type BehaviourModel = Omit<Learnt, "network"> & { readonly trained: Trained };

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const Manifest = z.object({ format: z.literal(FORMAT), features: hash, "model.onnx": hash, "tables.json": hash });

const base64 = z.base64();
const PackedFrequencies = z.object({ hashes: base64, minutes: base64 });
const PackedTable = z.object({ minutes: z.int().nonnegative(), of: z.record(z.enum(kinds), PackedFrequencies) });
const PackedScale = z.object({ mean: base64, spread: base64 });
const numbers = z.array(z.number().nonnegative()).max(1000);
const CurveSchema = z
  .object({ energies: numbers, rates: numbers, scale: z.number().positive() })
  .refine(({ energies, rates }) => energies.length === rates.length && energies.length > 0, "energies and rates do not match");
const CalibrationSchema: z.ZodType<Calibration> = z.object({ minutes: z.int().nonnegative(), share: CurveSchema, alerts: CurveSchema });
const Tables = z.object({
  trained: Trained,
  site: PackedTable,
  stranger: PackedScale,
  devices: z.record(z.string().max(64), z.object({ table: PackedTable, scale: PackedScale })),
  calibration: z.object({ own: CalibrationSchema.optional(), stranger: CalibrationSchema.optional() }),
});

const sha256 = (bytes: Uint8Array | string) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
const featuresHash = sha256(featureNames.join("\n"));

/** The files of a learnt model. The same model gives the same bytes. */
export function encodeModel(learnt: Learnt, trained: Trained): ModelFiles {
  const network = networkToOnnx(learnt.network, { format: FORMAT, site: trained.site });
  const tables = JSON.stringify({
    trained,
    site: packTable(learnt.site),
    stranger: packScale(learnt.stranger),
    devices: Object.fromEntries(
      [...learnt.devices]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([device, { table, scale }]) => [device, { table: packTable(table), scale: packScale(scale) }]),
    ),
    calibration: learnt.calibration,
  });
  const manifest = { format: FORMAT, features: featuresHash, "model.onnx": sha256(network), "tables.json": sha256(tables) };
  const utf8 = new TextEncoder();
  return {
    "model.onnx": network,
    "tables.json": utf8.encode(tables),
    "manifest.json": utf8.encode(`${JSON.stringify(manifest, null, 2)}\n`),
  };
}

/** Throws with the reason when files are missing a part, damaged, or of another version. */
export function decodeModel(files: ModelFiles): BehaviourModel {
  const utf8 = new TextDecoder();
  const manifest = Manifest.safeParse(parse("manifest.json", utf8.decode(files["manifest.json"])));
  if (!manifest.success) throw new Error("manifest.json is not of this version of Picket: train again");
  if (manifest.data.features !== featuresHash)
    throw new Error("it was trained on other features than this version of Picket has: train again");
  for (const name of ["model.onnx", "tables.json"] as const)
    if (sha256(files[name]) !== manifest.data[name])
      throw new Error(`${name} is damaged or only half written: its hash is not what manifest.json says`);
  const tables = Tables.safeParse(parse("tables.json", utf8.decode(files["tables.json"])));
  if (!tables.success) throw new Error(`tables.json cannot be used: ${z.prettifyError(tables.error).replaceAll("\n", " ").slice(0, 300)}`);
  const { trained, site, stranger, devices, calibration } = tables.data;
  return {
    trained,
    site: unpackTable(site),
    stranger: unpackScale(stranger),
    devices: new Map(
      Object.entries(devices).map(([device, { table, scale }]) => [device, { table: unpackTable(table), scale: unpackScale(scale) }]),
    ),
    calibration: {
      ...(calibration.own ? { own: calibration.own } : {}),
      ...(calibration.stranger ? { stranger: calibration.stranger } : {}),
    },
  };
}

function parse(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${name} is not JSON: it is damaged or only half written`);
  }
}

const pack = (numbers: Uint32Array | Uint16Array | Float32Array) =>
  Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength).toString("base64");
/** A copy of its own, so that it is aligned. */
const unpack = (text: string): ArrayBuffer => Uint8Array.from(Buffer.from(text, "base64")).buffer;

const packTable = ({ minutes, of }: Table) => ({
  minutes,
  of: Object.fromEntries(kinds.map((kind) => [kind, { hashes: pack(of[kind].hashes), minutes: pack(of[kind].minutes) }])),
});

function unpackTable({ minutes, of }: z.infer<typeof PackedTable>): Table {
  const unpacked = kinds.map((kind): [string, Frequencies] => {
    const hashes = new Uint32Array(unpack(of[kind].hashes));
    const counts = new Uint16Array(unpack(of[kind].minutes));
    if (hashes.length !== counts.length) throw new Error(`tables.json: ${kind} has ${hashes.length} keys and ${counts.length} counts`);
    return [kind, { hashes, minutes: counts }];
  });
  return { minutes, of: Object.fromEntries(unpacked) as Table["of"] };
}

const packScale = ({ mean, spread }: Scale) => ({ mean: pack(mean), spread: pack(spread) });

function unpackScale({ mean, spread }: z.infer<typeof PackedScale>): Scale {
  const scale = { mean: new Float32Array(unpack(mean)), spread: new Float32Array(unpack(spread)) };
  for (const of of [scale.mean, scale.spread])
    if (of.length !== FEATURES || !of.every(Number.isFinite)) throw new Error("tables.json: a scale does not fit the features");
  if (!scale.spread.every((step) => step > 0)) throw new Error("tables.json: a scale has steps of nothing");
  return scale;
}
