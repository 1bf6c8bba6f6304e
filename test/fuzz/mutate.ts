// Makes bad input from good: bytes are changed where they are, JSON in its structure, so that some of it gets past the first check.

export type Random = () => number;

const INTERESTING = [0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x22, 0x5b, 0x7b, 0x28, 0xb5, 0x2f, 0xfd];
/** Largest input made, bytes: somewhat above what a message may have. */
export const MAX_INPUT_BYTES = 2 << 20;

const below = (random: Random, end: number) => Math.floor(random() * end);
export const pick = <T>(random: Random, from: readonly T[]): T => from[below(random, from.length)]!;

/** One to eight changes of bytes. `others` give pieces to put in. */
export function mutateBytes(random: Random, seed: Uint8Array, others: readonly Uint8Array[]): Buffer {
  let bytes = Buffer.from(seed);
  for (let left = 1 + below(random, 8); left > 0; left--) bytes = change(random, bytes, others);
  return bytes.subarray(0, MAX_INPUT_BYTES);
}

function change(random: Random, bytes: Buffer, others: readonly Uint8Array[]): Buffer<ArrayBuffer> {
  const at = below(random, bytes.length + 1);
  const length = below(random, Math.min(64, bytes.length - at) + 1);
  const [before, piece, after] = [bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at + length)];
  switch (below(random, 7)) {
    case 0: {
      const copy = Buffer.from(bytes);
      if (at < copy.length) copy[at] = copy[at]! ^ (1 << below(random, 8));
      return copy;
    }
    case 1:
      return Buffer.concat([before, Buffer.from([pick(random, INTERESTING)]), after]);
    case 2:
      return Buffer.concat([before, after]);
    case 3:
      return Buffer.concat([before, ...Array.from({ length: 1 + below(random, 200) }, () => piece), after]);
    case 4: {
      const other = Buffer.from(pick(random, others));
      const from = below(random, other.length + 1);
      return Buffer.concat([before, other.subarray(from, from + below(random, 4096)), after]);
    }
    case 5:
      return Buffer.from(before);
    default: {
      const noise = Buffer.from(Array.from({ length: 1 + below(random, 16) }, () => below(random, 256)));
      return Buffer.concat([before, noise, after]);
    }
  }
}

const deep = (depth: number): unknown => {
  let value: unknown = 0;
  for (let left = depth; left > 0; left--) value = left % 2 ? [value] : { a: value };
  return value;
};
const odd: readonly (() => unknown)[] = [
  () => null,
  () => true,
  () => 0,
  () => -1,
  () => 0.5,
  () => -0,
  () => 2 ** 53,
  () => 1e308,
  () => Number.MAX_SAFE_INTEGER,
  () => "",
  () => "\ud800",
  () => "\u0000",
  () => "\u001b[2J\u001b[8m",
  () => "a/../../../etc/passwd",
  () => "x".repeat(4097),
  () => "x".repeat(100_000),
  () => "%s%n'; DROP TABLE log; --",
  () => [],
  () => ({}),
  () => Array.from({ length: 2000 }, (_, at) => at),
  () => ({ __proto__: null, constructor: { prototype: 1 }, toString: 1, length: -1 }),
  () => JSON.parse('{"__proto__":{"polluted":true}}'),
  () => ({ length: { toString: 1 }, size: { toString: 1 } }),
  () => deep(40),
  () => deep(3000),
  () => Object.fromEntries(Array.from({ length: 500 }, (_, at) => [`key${at}`, at])),
];

/** JSON with one to four of its values replaced, left out, doubled or put where they do not belong. */
export function mutateJson(random: Random, seed: unknown): unknown {
  let value = structuredClone(seed);
  for (let left = 1 + below(random, 4); left > 0; left--) value = changeIn(random, value);
  return value;
}

function changeIn(random: Random, value: unknown): unknown {
  if (typeof value !== "object" || value === null || random() < 0.1) return pick(random, odd)();
  const keys = Object.keys(value);
  const key = keys.length > 0 ? pick(random, keys) : "";
  const holder = value as Record<string, unknown>;
  const what = random();
  if (what < 0.6 && key in holder) holder[key] = changeIn(random, holder[key]);
  else if (what < 0.75) delete holder[key];
  else if (what < 0.9) holder[pick(random, ["__proto__", "constructor", "", "v", "kind", "extra", "x".repeat(300)])] = pick(random, odd)();
  else if (keys.length > 0) holder[pick(random, keys)] = structuredClone(holder[key]);
  return value;
}

/** As text. What JSON cannot say (a cycle cannot arise) becomes null. */
export const jsonBytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value) ?? "null");
