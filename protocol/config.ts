// How every program reads its configuration: command line > PICKET_* environment > file > default; unknown keys are errors; all errors at once.
import * as z from "zod";

/** Configuration that cannot be used. `message` lists every problem, a line each: where it stands, what is wrong. */
export class BadConfig extends Error {
  override name = "BadConfig";
}

export type ConfigSources = {
  /** Values from the command line, as nested keys. Undefined ones do not count. */
  readonly args?: Record<string, unknown>;
  /** The environment; only PICKET_<SECTION>_<KEY> (or PICKET_<KEY>) of keys the schema has are read. */
  readonly env?: Record<string, string | undefined>;
  /** TOML text, with the name it is reported under. */
  readonly file?: { readonly name: string; readonly text: string } | undefined;
};

/**
 * Merges the sources and checks them against `schema`, a strict object of at most two levels.
 * Throws `BadConfig` with all problems and the place each came from.
 */
export function readConfig<S extends z.ZodObject>(schema: S, sources: ConfigSources): z.output<S> {
  const file = sources.file ? parseToml(sources.file) : {};
  const fromEnv = environment(schema, sources.env ?? {});
  const merged = merge(merge(file, fromEnv), sources.args ?? {});
  const result = schema.safeParse(merged);
  if (result.success) return result.data;
  const lines = result.error.issues.flatMap((issue) => {
    const keys = issue.code === "unrecognized_keys" ? issue.keys.map((key) => [...issue.path, key]) : [issue.path];
    return keys.map(
      (key) => `${origin(key, fromEnv, sources)}: ${key.join(".")}: ${issue.code === "unrecognized_keys" ? "unknown key" : issue.message}`,
    );
  });
  throw new BadConfig(lines.join("\n"));
}

/** The configuration as TOML-like lines with each key's description, for `config --print`. */
export function printConfig(schema: z.ZodObject, value: Record<string, unknown>, section = ""): string {
  const lines: string[] = [];
  const tables: string[] = [];
  for (const [key, field] of Object.entries(schema.shape)) {
    const inner = unwrap(field);
    const item = value[key];
    if (inner instanceof z.ZodObject) {
      const name = section ? `${section}.${key}` : key;
      tables.push(`\n[${name}]\n${printConfig(inner, (item ?? {}) as Record<string, unknown>, name)}`);
    } else {
      const text = (field as z.ZodType).meta()?.description ?? inner.meta()?.description;
      if (text) lines.push(`# ${text}`);
      lines.push(item === undefined ? `# ${key} =` : `${key} = ${JSON.stringify(item)}`);
    }
  }
  return [...lines, ...tables].join("\n");
}

function parseToml(file: { name: string; text: string }): Record<string, unknown> {
  try {
    return Bun.TOML.parse(file.text) as Record<string, unknown>;
  } catch (error) {
    throw new BadConfig(`${file.name}: not TOML: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function environment(schema: z.ZodObject, env: Record<string, string | undefined>): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(schema.shape)) {
    const inner = unwrap(field);
    if (inner instanceof z.ZodObject) {
      const nested = environment(
        inner,
        Object.fromEntries(
          Object.entries(env).map(([name, value]) => [
            name.replace(`PICKET_${snake(key)}_`, "PICKET_"),
            name.startsWith(`PICKET_${snake(key)}_`) ? value : undefined,
          ]),
        ),
      );
      if (Object.keys(nested).length > 0) values[key] = nested;
      continue;
    }
    const text = env[`PICKET_${snake(key)}`];
    if (text !== undefined) values[key] = inner instanceof z.ZodString || inner instanceof z.ZodEnum ? text : literal(text);
  }
  return values;
}

/** A number, true, false or a TOML array is that; anything else is text. */
function literal(text: string): unknown {
  try {
    return (Bun.TOML.parse(`x = ${text}`) as { x: unknown }).x;
  } catch {
    return text;
  }
}

function merge(under: Record<string, unknown>, over: Record<string, unknown>): Record<string, unknown> {
  const result: Record<string, unknown> = { ...under };
  for (const [key, value] of Object.entries(over)) {
    if (value === undefined) continue;
    const before = result[key];
    result[key] = isTable(value) && isTable(before) ? merge(before, value) : value;
  }
  return result;
}

function origin(path: readonly PropertyKey[], env: Record<string, unknown>, sources: ConfigSources): string {
  if (has(sources.args ?? {}, path)) return "command line";
  if (has(env, path)) return `environment PICKET_${path.map((key) => snake(String(key))).join("_")}`;
  return sources.file?.name ?? "configuration";
}

function has(value: unknown, path: readonly PropertyKey[]): boolean {
  let at = value;
  for (const key of path) {
    if (!isTable(at) || at[String(key)] === undefined) return false;
    at = at[String(key)];
  }
  return true;
}

function unwrap(type: unknown): z.ZodType {
  let at = type as z.ZodType;
  while (at instanceof z.ZodDefault || at instanceof z.ZodOptional || at instanceof z.ZodPrefault) at = at.unwrap() as z.ZodType;
  return at;
}

const snake = (key: string) => key.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
const isTable = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);
