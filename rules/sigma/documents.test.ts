// Filters, placeholders, parts of a date and log sources: what a rule set says beside its rules.
import type { SensorEvent } from "@picket/protocol/event";
import { parseRecorded } from "@picket/protocol/recorded";
import { expect, test } from "vitest";
import { compileRules, parseRules } from "../engine.ts";
import { naiveMatch } from "../testing/naive.ts";
import { timePart } from "./time.ts";

const rule = (id: string, detection: string, more = "") =>
  `title: T ${id}\nid: ${id}\nname: name_${id}\nlogsource: { category: process_creation, product: linux }\nlevel: low\n${more}detection: { ${detection} }\n`;
const filter = (rules: string, body: string, logsource = "{ category: process_creation, product: linux }") =>
  `title: F\nlogsource: ${logsource}\nfilter: { rules: ${rules}, ${body} }\n`;
const load = (...documents: string[]) => parseRules([{ file: "a.yml", text: documents.join("---\n") }]);
const event = (type: string, body: object, timeMs = 1): SensorEvent =>
  parseRecorded(JSON.stringify({ type, device: "gw", timeMs, body }), 1).event;
const exec = (exe: string, user: string, timeMs?: number) => event("process.exec", { process: { exe, argv: [exe], user } }, timeMs);
const ids = (loaded: ReturnType<typeof load>, seen: SensorEvent) => {
  const found = compileRules(loaded.rules).match(seen);
  expect(found).toEqual(naiveMatch(loaded.rules, seen));
  return found.map(({ id }) => id);
};
const two = [rule("one", "s: { Image|endswith: /x }, condition: s"), rule("two", "s: { Image|startswith: /bin/ }, condition: s")];

test.each([
  [
    "by id, as the specification's example writes it",
    filter("[one]", "selection: { User|startswith: adm_ }, condition: selection"),
    ["two"],
  ],
  [
    "by id, as SigmaHQ's documentation writes it",
    filter("[one]", "selection: { User|startswith: adm_ }, condition: not selection"),
    ["two"],
  ],
  ["by name", filter("[name_two]", "selection: { User: adm_ada }, condition: selection"), ["one"]],
  ["all of a log source", filter("any", "selection: { User: adm_ada }, condition: selection"), []],
  ["several selections", filter("[one]", "a: { User: adm_ada }, b: { Image: /bin/y }, condition: a and not b"), ["two"]],
  ["none of several", filter("any", "a: { User: adm_ada }, b: { Image: /bin/z }, condition: not 1 of them"), []],
  ["what does not describe the event", filter("any", "selection: { User: root }, condition: selection"), ["one", "two"]],
])("a filter: %s", (_, text, expected) => {
  const loaded = load(text, ...two);
  expect({ errors: loaded.errors, warnings: loaded.warnings, documents: loaded.documents }).toEqual({
    errors: [],
    warnings: [],
    documents: 2,
  });
  expect(ids(loaded, exec("/bin/x", "adm_ada"))).toEqual(expected);
  expect(ids(loaded, exec("/bin/x", "eve"))).toEqual(["one", "two"]);
});

test.each([
  ["a rule that is not there", filter("[three]", "s: { User: a }, condition: s"), "names rule three, which is not among the rules"],
  ["another log source", filter("[one]", "s: { User: a }, condition: s", "{ product: windows }"), "their log sources differ"],
  ["a log source of no rule", filter("any", "s: { User: a }, condition: s", "{ service: sshd }"), "that of no rule"],
  ["a field nobody has", filter("[one]", "s: { LogonId: a }, condition: s"), "unsupported: needs LogonId"],
])("a filter for %s is a warning, and takes nothing away", (_, text, message) => {
  const loaded = load(text, ...two);
  expect(loaded.errors).toEqual([]);
  expect(loaded.warnings.map((one) => one.message).join()).toContain(message);
  expect(ids(loaded, exec("/bin/x", "a"))).toEqual(["one", "two"]);
});

test.each([
  ["no rules", "title: F\nlogsource: { product: linux }\nfilter: { s: { User: a }, condition: s }\n", "say which rules it is for"],
  ["no condition", filter("any", "s: { User: a }"), "no condition"],
  ["no log source", "title: F\nfilter: { rules: any, s: { User: a }, condition: s }\n", "no logsource"],
])("a filter with %s is an error", (_, text, message) => {
  const { errors, rules } = load(text, ...two);
  expect(errors.map((error) => error.message).join()).toContain(message);
  expect(rules).toHaveLength(2);
});

test("a placeholder stands for what a document of the same files defines, wherever that is", () => {
  const loaded = load(
    rule("p", "s: { User|expand: '%admins%', Image|expand|endswith: '/%tool%-%tool%' }, condition: s"),
    "placeholders: { admins: [root, 'adm_*'], tool: [a, b] }\n",
  );
  expect([loaded.errors, loaded.warnings]).toEqual([[], []]);
  expect(ids(loaded, exec("/bin/a-b", "adm_ada"))).toEqual(["p"]);
  expect(ids(loaded, exec("/bin/b-b", "ROOT"))).toEqual(["p"]);
  expect(ids(loaded, exec("/bin/a-c", "root"))).toEqual([]);
  expect(ids(loaded, exec("/bin/a-b", "eve"))).toEqual([]);
});

test("without expand, and escaped, percent signs are plain", () => {
  const loaded = load(rule("p", "s: { User: '%admins%' }, condition: s"), rule("q", "s: { User|expand: '\\%admins%' }, condition: s"));
  expect(loaded.errors).toEqual([]);
  expect(ids(loaded, exec("/x", "%admins%"))).toEqual(["p"]);
});

test("placeholders that multiply, twice defined or empty are errors", () => {
  const many = `[${Array.from({ length: 200 }, (_, n) => `v${n}`).join(", ")}]`;
  const loaded = load(
    rule("p", "s: { User|expand: '%m%%m%' }, condition: s"),
    `placeholders: { m: ${many}, e: [] }\n`,
    "placeholders: { m: x }\n",
  );
  expect(loaded.errors.map(({ message }) => message)).toEqual([
    expect.stringContaining("more than 1000 values"),
    expect.stringContaining('placeholder "e" must be a text or a list'),
    expect.stringContaining('placeholder "m" is already defined'),
  ]);
});

test.each([
  ["minute", 59],
  ["hour", 23],
  ["day", 31],
  ["week", 53],
  ["month", 12],
  ["year", 2026],
] as const)("|%s takes that part of a date, in UTC", (part, value) => {
  const atMs = Date.UTC(2026, 11, 31, 23, 59, 59);
  const asks = (modifiers: string, number: number) =>
    ids(load(rule("t", `s: { UtcTime|${part}${modifiers}: ${number} }, condition: s`)), exec("/x", "a", atMs));
  expect(asks("", value)).toEqual(["t"]);
  expect(asks("", value - 1)).toEqual([]);
  expect(asks("|gt", value - 1)).toEqual(["t"]);
  expect(asks("|lte", value - 1)).toEqual([]);
  expect(timePart("no date", part)).toBeUndefined();
});

test("weeks are those of ISO 8601", () => {
  expect(["2021-01-03", "2021-01-04", "2024-12-30", "2027-01-01"].map((day) => timePart(day, "week"))).toEqual([53, 1, 1, 53]);
});

test("lookups answer a rule on connections that asks for a name, and only such a rule", () => {
  const network = (detection: string) =>
    `title: N\nid: n\nlevel: low\nlogsource: { category: network_connection, product: linux }\ndetection: { ${detection}, condition: s }\n`;
  const looked = event("net.dns", { process: { exe: "/x", argv: [] }, net: { query: "a.pool.example" } });
  const named = load(network("s: { Initiated: 'true', DestinationHostname|endswith: .pool.example }"));
  expect(ids(named, looked)).toEqual(["n"]);
  expect(load(network("s: { DestinationPort: 1, DestinationHostname|endswith: .pool.example }")).rules).toEqual([]);
  expect(ids(load(network("s: { Image: /x }")), looked)).toEqual([]);
});

test("logins and sudo are lines of their services", () => {
  const line = (service: string, keyword: string) =>
    load(
      `title: L\nid: l\nlevel: low\nlogsource: { product: linux, service: ${service} }\ndetection: { k: ['${keyword}'], condition: k }\n`,
    );
  const login = event("auth.login", { user: "root", remoteIp: "192.0.2.1", method: "password", ok: false });
  const sudo = event("auth.sudo", { user: "eve", command: "/usr/bin/id", ok: true });
  expect(ids(line("sshd", "Failed password for root from 192.0.2.1"), login)).toEqual(["l"]);
  expect(ids(line("auth", "COMMAND=/usr/bin/id"), sudo)).toEqual(["l"]);
  expect(ids(line("sudo", "Failed password"), login)).toEqual([]);
  expect(line("vsftpd", "x").warnings[0]?.message).toContain("log source service vsftpd");
});
