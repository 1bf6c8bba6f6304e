// The templates of templates/*.txt: attack behaviour and honest work, written by us.
import { readFileSync } from "node:fs";

/** Command lines that do one kind of thing. */
export type Family = {
  readonly name: string;
  /** ATT&CK technique; none for honest work. */
  readonly technique?: string;
  readonly tier?: "overt" | "dual_use";
  /** Programs that start these lines. */
  readonly parents: readonly string[];
  /** In the grammar of grammar.ts. */
  readonly lines: readonly string[];
};

const HEAD = /^\[(?<name>[^\]]+)\](?: (?<technique>T\d{4}(?:\.\d{3})?) (?<tier>overt|dual_use))?(?: parents (?<parents>.+))?$/;

/** Families of one file: `# comment`, `[name] technique tier` or `[name] parents PATH…`, then one template a line, in which ⏎ is a line break. */
export function readFamilies(text: string): Family[] {
  const families: (Family & { lines: string[] })[] = [];
  for (const line of text.split("\n")) {
    const head = HEAD.exec(line)?.groups;
    if (head) {
      const { name = "", technique, tier, parents } = head;
      families.push({
        name,
        ...(technique === undefined ? {} : { technique }),
        ...(tier === undefined ? {} : { tier: tier as "overt" | "dual_use" }),
        parents: parents?.split(" ") ?? [],
        lines: [],
      });
    } else if (line !== "" && !line.startsWith("# ")) {
      const family = families.at(-1);
      if (!family) throw new Error(`a template before the first [family]: ${line}`);
      family.lines.push(line.replaceAll("⏎", "\n"));
    }
  }
  return families;
}

const read = (name: string) => readFamilies(readFileSync(new URL(`./templates/${name}.txt`, import.meta.url), "utf8"));

export const attackFamilies = (): Family[] =>
  ["remote-shell", "fetch-and-run", "persistence", "take-over", "look-and-take", "harm"].flatMap(read);
export const workFamilies = (): Family[] => read("honest-work");
