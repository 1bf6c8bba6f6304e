import { parseBtf, type Struct } from "./btf.ts";
import { elfSections } from "./elf.ts";

/** Structs that cross between kernel and user space; `_record` ones are found by their name. */
const exported = (name: string) => name.endsWith("_record") || ["record", "config", "watch_key", "starts"].includes(name);
const exportedEnums = ["record_kind", "loss", "exit_cause", "path_op", "call_op", "near", "watch_bits", "name_bits"];

/** Where `config` lies: read-only, or written again while programs run. */
const configSections = [".rodata", ".data"];

/** The text of layout.gen.ts for a compiled object. Throws when `config` is not alone in its section: the loader writes it whole. */
export function layoutOf(object: Uint8Array): string {
  const sections = elfSections(object);
  const btf = sections.get(".BTF");
  if (!btf) throw new Error("the object has no .BTF section: compile with -g");
  const { structs, enums } = parseBtf(btf);
  const held = configSections.find((name) => sections.has(name)) ?? "no section";
  const bytes = sections.get(held)?.length;
  if (bytes !== structs.get("config")?.size) throw new Error(`${held} holds ${bytes} bytes, not only struct config`);

  const lines = ["// Generated from the BTF of sensor.bpf.o and sensor-perf.bpf.o by `bun run gen`. Do not edit."];
  for (const [name, struct] of [...structs].filter(([name]) => exported(name)).sort(byName)) {
    lines.push(`export const ${camel(name)} = ${layout(struct)} as const;`);
  }
  for (const name of exportedEnums) {
    const members = enums.get(name);
    if (!members) throw new Error(`enum ${name} is not in the object's BTF`);
    const prefix = name.split("_")[0]!.toUpperCase();
    const text = [...members].map(([member, value]) => `${camel(member.replace(`${prefix}_`, ""))}: ${value}`).join(", ");
    lines.push(`export const ${camel(name)} = { ${text} } as const;`);
  }
  return `${lines.join("\n")}\n`;
}

function layout(struct: Struct): string {
  const parts = struct.fields.flatMap((field) => [
    `${camel(field.name)}: ${field.offset}`,
    ...(field.array ? [`${camel(field.name)}Size: ${field.size}`] : []),
  ]);
  return `{ ${[...parts, `size: ${struct.size}`].join(", ")} }`;
}

const camel = (name: string) => name.toLowerCase().replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
const byName = ([a]: [string, unknown], [b]: [string, unknown]) => (a < b ? -1 : 1);
