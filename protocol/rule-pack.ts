// Rules that operators set on devices: the payload of a pack of the kind "rules" (protocol/pack.ts). Rules travel parsed, so that a device needs no parser.
import * as z from "zod";
import type { SensorEvent } from "./event.ts";
import { tryParse } from "./try-parse.ts";
import { BadFrame, readFrame } from "./zstd-frame.ts";

/** Most rules that packs bring to one device: what it takes of them is measured in docs/rule-packs.md. */
export const MAX_PACK_RULES = 500;
/** What a pack may unfold into, bytes. */
export const MAX_RULES_BYTES = 2 << 20;
/** Shipped rules that one pack may switch off. */
export const MAX_DISABLED = 200;
const MAX_SAMPLES = 2 * MAX_PACK_RULES;
/** How deep a pack may nest: a condition of a rule, at most. */
const MAX_DEPTH = 64;

const ruleId = z.string().min(1).max(128);
const words = (most: number, chars: number) => z.array(z.string().max(chars)).max(most);

/** A rule as far as a device matches it and a site names it. What its conditions may hold is known to the engine (rules/packed.ts). */
export const PackedRule = z.strictObject({
  id: ruleId,
  title: z.string().min(1).max(256),
  level: z.enum(["informational", "low", "medium", "high", "critical"]),
  version: z.string().min(1).max(64),
  author: z.string().max(256).optional(),
  attack: z.strictObject({ tactics: words(16, 64), techniques: words(32, 16) }),
  score: z.number().min(0).max(1000),
  alerts: z.boolean(),
  todo: z.string().max(1000).optional(),
  detection: z.unknown(),
});
export type PackedRule = z.infer<typeof PackedRule>;

/** Only as far as a device needs to try rules on it: the schemas of all events would stay in its memory. Whoever signs a pack checks the whole (cli/operator/rule-pack.ts). */
const SampleEvent = z.custom<SensorEvent>((value) => {
  const { type, body } = (typeof value === "object" && value !== null ? value : {}) as { type?: unknown; body?: unknown };
  return typeof type === "string" && typeof body === "object" && body !== null;
}, "no event");

/** An event that a rule of the pack must match, or must not: tried on the device before the pack is in force. */
const PackSample = z.strictObject({ rule: ruleId, hit: z.boolean(), event: SampleEvent });

export const RulePack = z.strictObject({
  rules: z.array(PackedRule).max(MAX_PACK_RULES),
  /** Ids of shipped rules that devices do not match any more. The site matches them all the same. */
  disable: z.array(ruleId).max(MAX_DISABLED),
  samples: z.array(PackSample).max(MAX_SAMPLES),
});
export type RulePack = z.infer<typeof RulePack>;

const Payload = z.strictObject({ format: z.literal(1), zstd: z.base64().min(1) });

/** The payload of a pack. */
export const packRules = (pack: RulePack): z.infer<typeof Payload> => ({
  format: 1,
  zstd: Buffer.from(Bun.zstdCompressSync(Buffer.from(JSON.stringify(pack)), { level: 19 })).toString("base64"),
});

/** What a payload holds, or why it is refused. Never throws: nothing is unfolded before the frame has said how much that will be. */
export function openRules(payload: unknown): RulePack | string {
  const outer = tryParse(Payload, payload);
  if (!outer.success) return `not a rule pack this version knows (${where(outer.error)})`;
  const json = unfold(Buffer.from(outer.data.zstd, "base64"));
  if ("why" in json) return json.why;
  const pack = tryParse(RulePack, json.value);
  if (!pack.success) return `not rules this version knows (${where(pack.error)})`;
  const { rules, disable } = pack.data;
  if (rules.length === 0 && disable.length === 0 && pack.data.samples.length > 0) return "it holds samples, and nothing to try them on";
  const ids = new Set(rules.map(({ id }) => id));
  if (ids.size !== rules.length) return "two of its rules have one id";
  return pack.data;
}

function unfold(bytes: Buffer): { readonly value: unknown } | { readonly why: string } {
  try {
    const { contentBytes } = readFrame(bytes);
    if (contentBytes > MAX_RULES_BYTES) return { why: `it unfolds into ${contentBytes} bytes; ${MAX_RULES_BYTES} are allowed` };
    const text = Bun.zstdDecompressSync(bytes);
    if (text.length !== contentBytes) return { why: "it unfolds into something else than it says" };
    if (depthOf(text) > MAX_DEPTH) return { why: `it nests deeper than ${MAX_DEPTH}` };
    return { value: JSON.parse(text.toString()) };
  } catch (error) {
    return { why: error instanceof BadFrame ? error.message : "it cannot be unfolded" };
  }
}

/** How deep JSON nests. */
function depthOf(text: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const byte = text[at]!;
    if (quoted) {
      if (byte === 0x5c) at++;
      else if (byte === 0x22) quoted = false;
    } else if (byte === 0x22) quoted = true;
    else if (byte === 0x5b || byte === 0x7b) deepest = Math.max(deepest, ++depth);
    else if (byte === 0x5d || byte === 0x7d) depth--;
  }
  return deepest;
}

/** Where it is wrong, and what a limit says; never the content. */
const where = (error: z.ZodError) =>
  error.issues
    .slice(0, 3)
    .map(({ path, message }) => `${path.slice(0, 4).join(".").slice(0, 80) || "its shape"}: ${message.slice(0, 80)}`)
    .join("; ");
