// What rule authors write under `meta:`. There is no standard, only habits; these are the ones of the public packs.
import type { Level } from "@picket/rules/rule";
import { clean } from "../../text.ts";
import type { YaraMatch } from "./verdict.ts";

export type Metadata = readonly { readonly identifier: string; readonly value: unknown }[];

const MAX_TEXT = 256;
const MAX_DESCRIPTION = 1000;
const MAX_TECHNIQUES = 16;

/** Of a rule that says nothing of its severity: a rule is written to find something bad. */
const DEFAULT_LEVEL: Level = "high";

/** Enterprise tactics by their ids, as tags write them (attack.mitre.org/tactics/enterprise). */
const tacticOfId: Readonly<Record<string, string>> = {
  TA0043: "reconnaissance",
  TA0042: "resource-development",
  TA0001: "initial-access",
  TA0002: "execution",
  TA0003: "persistence",
  TA0004: "privilege-escalation",
  TA0005: "defense-evasion",
  TA0006: "credential-access",
  TA0007: "discovery",
  TA0008: "lateral-movement",
  TA0009: "collection",
  TA0011: "command-and-control",
  TA0010: "exfiltration",
  TA0040: "impact",
};
/** Names since version 19 of ATT&CK beside the older ones. */
const tactics = new Set([...Object.values(tacticOfId), "stealth", "defense-impairment"]);

const levelOfWord: Readonly<Record<string, Level>> = {
  informational: "informational",
  info: "informational",
  none: "informational",
  low: "low",
  minor: "low",
  medium: "medium",
  moderate: "medium",
  suspicious: "medium",
  high: "high",
  malicious: "high",
  critical: "critical",
  severe: "critical",
};

/** What the metadata and tags of a rule say, as far as Picket uses it. The first of several equal keys counts. */
export function readMetadata(rule: string, metadata: Metadata, tags: readonly string[]): YaraMatch["meta"] {
  const values = new Map<string, unknown>();
  for (const { identifier, value } of metadata) {
    const key = identifier.toLowerCase();
    if (!values.has(key)) values.set(key, value);
  }
  const text = (keys: readonly string[], max: number) => {
    for (const key of keys) {
      const value = values.get(key);
      if (typeof value === "string" && value.trim() !== "") return clean(value.trim(), max);
    }
    return undefined;
  };
  const description = text(["description", "desc", "info"], MAX_DESCRIPTION);
  const author = text(["author", "authors"], MAX_TEXT);
  const reference = text(["reference", "references", "ref", "url"], MAX_TEXT);
  return {
    title: text(["title", "threat_name"], MAX_TEXT) ?? (description === undefined ? clean(rule, 128) : clean(description, 120)),
    ...(description === undefined ? {} : { description }),
    severity: levelOf(values.get("severity")) ?? levelOf(values.get("threat_level")) ?? levelOf(values.get("score")) ?? DEFAULT_LEVEL,
    ...(author === undefined ? {} : { author }),
    ...(reference === undefined ? {} : { reference }),
    attack: attackOf(metadata, tags),
    ...(values.get("text") === true ? { text: true } : {}),
  };
}

/** A word, or a number of 0 to 100, as text or not. Undefined: it says nothing we understand. */
function levelOf(value: unknown): Level | undefined {
  const text = String(value ?? "")
    .trim()
    .toLowerCase();
  const known = levelOfWord[text];
  if (known !== undefined) return known;
  if (!/^\d{1,3}(\.\d+)?$/.test(text)) return undefined;
  const points = Number(text);
  if (points >= 90) return "critical";
  if (points >= 65) return "high";
  return points >= 40 ? "medium" : "low";
}

const attackKey = /att.?ck|mitre|techni(que|c)|tactic|\bttp/i;

/** ATT&CK ids from tags and from the keys that are used for them: `attack`, `mitre_attack`, `mitre_att`, `technique`, `tactic`, `t1059 = "..."`. */
function attackOf(metadata: Metadata, tags: readonly string[]): YaraMatch["meta"]["attack"] {
  const texts = [...tags];
  for (const { identifier, value } of metadata) {
    if (attackKey.test(identifier)) texts.push(String(value));
    if (/^t\d{4}(_\d{3})?$/i.test(identifier)) texts.push(identifier);
  }
  const techniques = new Set<string>();
  const found = new Set<string>();
  for (const text of texts) {
    for (const [, id, sub] of text.matchAll(/(?<![a-z0-9])t(\d{4})(?:[._](\d{3}))?(?![0-9])/gi)) {
      techniques.add(sub === undefined ? `T${id}` : `T${id}.${sub}`);
    }
    for (const [id] of text.matchAll(/(?<![a-z0-9])ta\d{4}(?![0-9])/gi)) {
      const tactic = tacticOfId[id.toUpperCase()];
      if (tactic !== undefined) found.add(tactic);
    }
    for (const part of text.split(/[,;/|]/)) {
      const name = part
        .trim()
        .toLowerCase()
        .replace(/^attack[._]/, "")
        .replaceAll(/[\s_]+/g, "-");
      if (tactics.has(name)) found.add(name);
    }
  }
  return { tactics: [...found], techniques: [...techniques].slice(0, MAX_TECHNIQUES) };
}
