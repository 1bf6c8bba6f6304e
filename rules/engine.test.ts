import type { SensorEvent } from "@picket/protocol/event";
import { parseRecorded } from "@picket/protocol/recorded";
import { expect, test } from "vitest";
import { compileRules, parseRules } from "./engine.ts";

type Parts = { detection: string; logsource?: string; extra?: string; id?: string; level?: string };

const rule = ({ detection, logsource = "{ category: process_creation, product: linux }", extra = "", id = "a", level = "high" }: Parts) =>
  `title: T ${id}\nid: ${id}\nlogsource: ${logsource}\n${extra}level: ${level}\ndetection:\n${detection
    .trim()
    .split("\n")
    .map((line) => `  ${line}`)
    .join("\n")}\n`;

const load = (...texts: string[]) => parseRules(texts.map((text, index) => ({ file: `r${index}.yml`, text })));

const event = (type: string, body: object): SensorEvent =>
  parseRecorded(JSON.stringify({ type, device: "gw-014", timeMs: 1, body }), 1).event;
const exec = (exe: string, argv: string[], more: object = {}) => event("process.exec", { process: { exe, argv, ...more } });
const connect = (dstIp: string, dstPort: number) =>
  event("net.connect", { process: { exe: "/usr/bin/x", argv: ["x"] }, net: { proto: "tcp", dstIp, dstPort } });

function fires(parts: Parts, seen: SensorEvent): boolean {
  const { rules, errors } = load(rule(parts));
  expect(errors).toEqual([]);
  expect(rules).toHaveLength(1);
  return compileRules(rules).match(seen).length === 1;
}

const curl = exec("/usr/bin/curl", ["curl", "-s", "http://198.51.100.7/X"], {
  pid: 42,
  uid: 0,
  cwd: "/tmp",
  parent: { pid: 7, exe: "/usr/bin/bash", argv: ["bash", "-i"] },
});

test.each([
  ["equal, whatever the case", "s: { Image: /USR/bin/CURL }\ncondition: s", true],
  ["cased", "s: { Image|cased: /USR/bin/CURL }\ncondition: s", false],
  ["cased, as it is", "s: { CommandLine|contains|cased: '/X' }\ncondition: s", true],
  ["cased, but it is upper case", "s: { CommandLine|contains|cased: '/x' }\ncondition: s", false],
  ["startswith", "s: { CommandLine|startswith: 'curl -s' }\ncondition: s", true],
  ["all wants every value", "s: { CommandLine|contains|all: ['-s', '-o'] }\ncondition: s", false],
  ["all, both there", "s: { CommandLine|contains|all: ['-s', 'http'] }\ncondition: s", true],
  ["a list is any", "s: { CommandLine|contains: ['-o', 'http'] }\ncondition: s", true],
  ["a list of maps is any", "s:\n  - { Image|endswith: /wget }\n  - { ParentImage|endswith: /bash }\ncondition: s", true],
  ["items of a map are all", "s: { Image|endswith: /curl, ParentImage|endswith: /zsh }\ncondition: s", false],
  ["re is case-sensitive", "s: { CommandLine|re: 'HTTP' }\ncondition: s", false],
  ["re with i", "s: { CommandLine|re|i: 'HTTP' }\ncondition: s", true],
  ["re searches", "s: { CommandLine|re: '[0-9]+\\.[0-9]+' }\ncondition: s", true],
  ["exists", "s: { CurrentDirectory|exists: true }\ncondition: s", true],
  ["exists, not there", "s: { sha256|exists: true }\ncondition: s", false],
  ["exists: false", "s: { sha256|exists: false }\ncondition: s", true],
  ["null is not there", "s: { sha256: null }\ncondition: s", true],
  ["null, but it is there", "s: { Image: null }\ncondition: s", false],
  ["empty is not null", "s: { CurrentDirectory: '' }\ncondition: s", false],
  ["a number", "s: { ProcessId: 42 }\ncondition: s", true],
  ["gt", "s: { ProcessId|gt: 41 }\ncondition: s", true],
  ["lte", "s: { ProcessId|lte: 41 }\ncondition: s", false],
  ["gte on a field that is no number", "s: { Image|gte: 0 }\ncondition: s", false],
  ["fieldref", "s: { Image|fieldref: ParentImage }\ncondition: s", false],
  ["fieldref with endswith", "s: { CurrentDirectory|fieldref|startswith: CurrentDirectory }\ncondition: s", true],
  ["uid 0 is root", "s: { User: root }\ncondition: s", true],
  ["neq", "s: { Image|neq: /usr/bin/wget }\ncondition: s", true],
  ["windash", "s: { CommandLine|windash|contains: ' /s ' }\ncondition: s", true],
  ["keywords look into every field", "k: ['bash -i', nope]\ncondition: k", true],
  ["a keyword in no field", "k: [nope]\ncondition: k", false],
  ["all keywords", "k: { '|all': [curl, '/tmp'] }\ncondition: k", true],
  ["all keywords, one missing", "k: { '|all': [curl, nope] }\ncondition: k", false],
  ["one argument of the list", "s: { Argv: '-s' }\ncondition: s", true],
  ["no argument is it", "s: { Argv: 's' }\ncondition: s", false],
  ["several conditions are any", "a: { Image: x }\nb: { ProcessId: 42 }\ncondition: [a, b]", true],
  [
    "not 1 of",
    "s: { ProcessId: 42 }\nfilter_a: { Image: x }\nfilter_b: { Image|endswith: /curl }\ncondition: s and not 1 of filter_*",
    false,
  ],
])("%s", (_, detection, expected) => {
  expect(fires({ detection }, curl)).toBe(expected);
});

test("base64offset finds what an encoded command hides", () => {
  const seen = exec("/bin/sh", ["sh", "-c", `echo ${Buffer.from("x /bin/bash -i").toString("base64")} | base64 -d`]);
  expect(fires({ detection: "s: { CommandLine|base64offset|contains: /bin/bash }\ncondition: s" }, seen)).toBe(true);
});

test("cidr and ports, on connections only", () => {
  const detection =
    "s: { Initiated: 'true', DestinationPort: [4444, 9001] }\nlocal: { DestinationIp|cidr: [127.0.0.0/8, ::1/128] }\ncondition: s and not local";
  const logsource = "{ category: network_connection, product: linux }";
  expect(fires({ detection, logsource }, connect("198.51.100.7", 4444))).toBe(true);
  expect(fires({ detection, logsource }, connect("::ffff:127.0.0.1", 4444))).toBe(false);
  expect(fires({ detection, logsource }, connect("198.51.100.7", 443))).toBe(false);
  expect(fires({ detection, logsource }, curl)).toBe(false);
});

test("a file event is a file that appears under a name, moved there too", () => {
  const parts = {
    detection: "s: { TargetFilename|startswith: /etc/cron.d/ }\ncondition: s",
    logsource: "{ category: file_event, product: linux }",
  };
  const process = { exe: "/usr/bin/mv", argv: ["mv"] };
  expect(fires(parts, event("file.rename", { process, file: { path: "/tmp/x", to: "/etc/cron.d/x" } }))).toBe(true);
  expect(fires(parts, event("file.rename", { process, file: { path: "/etc/cron.d/x", to: "/tmp/x" } }))).toBe(false);
  expect(fires(parts, event("file.delete", { process, file: { path: "/etc/cron.d/x" } }))).toBe(false);
});

test("a service is the source of a log line", () => {
  const parts = { detection: "k: ['Corrupted MAC']\ncondition: k", logsource: "{ product: linux, service: sshd }" };
  expect(fires(parts, event("log.line", { source: "sshd.service", message: "ssh_dispatch: corrupted mac on input" }))).toBe(true);
  expect(fires(parts, event("log.line", { source: "cron", message: "Corrupted MAC on input" }))).toBe(false);
});

test("what a rule is worth", () => {
  const worth = (level: string, extra = "") => {
    const [only] = load(rule({ detection: "s: { Image: x }\ncondition: s", level, extra })).rules;
    return { score: only?.score, alerts: only?.alerts };
  };
  expect(worth("low")).toEqual({ score: 15, alerts: false });
  expect(worth("medium")).toEqual({ score: 35, alerts: true });
  expect(worth("critical")).toEqual({ score: 80, alerts: true });
  expect(worth("low", "picket: { score: 40 }\n")).toEqual({ score: 40, alerts: false });
  expect(worth("medium", "picket: { alert: false }\n")).toEqual({ score: 35, alerts: false });
});

test("tags name tactics and techniques, old spelling too", () => {
  const extra =
    "tags: [attack.credential_access, attack.T1059.004, attack.g0020, attack.s0003, cve.2021-4034]\ndate: 2026-01-02\nmodified: 2026-02-03\nauthor: Ada\n";
  const [only] = load(rule({ detection: "s: { Image: x }\ncondition: s", extra })).rules;
  expect(only).toMatchObject({
    version: "2026-02-03",
    author: "Ada",
    attack: { tactics: ["credential-access"], techniques: ["T1059.004"] },
  });
});

test("one bad rule stops no other, and says where it is", () => {
  const good = rule({ id: "good", detection: "s: { Image: x }\ncondition: s" });
  const bad = rule({ id: "bad", detection: "s: { Image|nope: x }\ncondition: s" });
  const { rules, errors, documents } = load(
    `${good}---\n${bad}---\n${rule({ id: "too", detection: "s: { Image: y }\ncondition: s" })}`,
    "a: 'x",
  );
  expect(rules.map(({ id }) => id)).toEqual(["good", "too"]);
  expect(documents).toBe(4);
  expect(errors).toMatchObject([
    { file: "r0.yml", line: 14, message: '"Image|nope": unknown modifier "nope"' },
    { file: "r1.yml", line: 1 },
  ]);
});

test.each([
  ["no detection", "title: T\nid: a\nlogsource: { product: linux }\n", "the rule has no detection"],
  ["no condition", rule({ detection: "s: { Image: x }" }), "detection has no condition"],
  ["an unknown search", rule({ detection: "s: { Image: x }\ncondition: t" }), 'there is no detection named "t"'],
  ["an empty list", rule({ detection: "s: { Image: [] }\ncondition: s" }), "empty list of values"],
  ["a map as value", rule({ detection: "s: { Image: { a: b } }\ncondition: s" }), "a value must be"],
  ["re and contains", rule({ detection: "s: { Image|contains|re: x }\ncondition: s" }), "contains cannot be combined with re"],
  ["look-ahead", rule({ detection: "s: { Image|re: '(?=a)b' }\ncondition: s" }), "look-around"],
  ["a bad network", rule({ detection: "s: { Image|cidr: 10.0.0.0/99 }\ncondition: s" }), "is not a network"],
  ["exists with a text", rule({ detection: "s: { Image|exists: maybe }\ncondition: s" }), "true or false"],
  ["a comparison with a text", rule({ detection: "s: { ProcessId|gt: many }\ncondition: s" }), "is not a number"],
  ["an aggregation", rule({ detection: "s: { Image: x }\ncondition: s | count() > 3" }), "correlation rule"],
  ["an unknown level", rule({ detection: "s: { Image: x }\ncondition: s", level: "huge" }), 'level "huge"'],
  ["an unknown picket key", rule({ detection: "s: { Image: x }\ncondition: s", extra: "picket: { skore: 1 }\n" }), 'no key "skore"'],
  ["always true", rule({ detection: "s: { OriginalFileName: null }\ncondition: s" }), "always true"],
  ["encoding a wildcard", rule({ detection: "s: { CommandLine|base64: 'a*' }\ncondition: s" }), "cannot have wildcards"],
])("%s is an error", (_, text, message) => {
  const { rules, errors } = load(text);
  expect(rules).toEqual([]);
  expect(errors.map((error) => error.message).join()).toContain(message);
});

test.each([
  [
    "a placeholder nobody defined",
    rule({ detection: "s: { User|expand: '%admins%' }\ncondition: s" }),
    "placeholder %admins% is not defined",
  ],
  ["another taxonomy", rule({ detection: "s: { Image: x }\ncondition: s", extra: "taxonomy: ecs\n" }), "taxonomy ecs"],
  [
    "another product",
    rule({ detection: "s: { Image: x }\ncondition: s", logsource: "{ category: process_creation, product: windows }" }),
    "product windows",
  ],
  ["a field nobody has", rule({ detection: "s: { OriginalFileName: x }\ncondition: s" }), "unsupported: needs field OriginalFileName"],
])("%s is a warning, and the rule is not loaded", (_, text, message) => {
  const { rules, errors, warnings } = load(text);
  expect({ rules, errors }).toEqual({ rules: [], errors: [] });
  expect(warnings.map((warning) => warning.message).join()).toContain(message);
});

test("a rule that can still fire without a field is loaded, with a warning at its line", () => {
  const parts = { detection: "s: { Image: /usr/bin/curl }\nt: { OriginalFileName: x }\ncondition: s or t" };
  const { rules, warnings } = load(rule(parts));
  expect(rules).toHaveLength(1);
  expect(warnings).toMatchObject([{ file: "r0.yml", line: 7, message: expect.stringContaining("that part never matches") }]);
  expect(compileRules(rules).match(curl)).toHaveLength(1);
});

test("a field in the wrong case is pointed at", () => {
  expect(load(rule({ detection: "s: { image: x }\ncondition: s" })).warnings[0]?.message).toContain("did you mean Image?");
});

test("an id used twice is an error that names the first", () => {
  const text = rule({ detection: "s: { Image: x }\ncondition: s" });
  const { rules, errors } = load(text, text);
  expect(rules).toHaveLength(1);
  expect(errors).toMatchObject([{ file: "r1.yml", message: expect.stringContaining("r0.yml:1") }]);
});

test("a rule without an id gets the same one each time, and a warning", () => {
  const text = "title: T\nlogsource: { category: process_creation }\nlevel: low\ndetection: { s: { Image: x }, condition: s }\n";
  const [first, second] = [load(text), load(text)];
  expect(first.rules[0]?.id).toBe(second.rules[0]?.id);
  expect(first.warnings[0]?.message).toContain("has no id");
});

test("names of JavaScript's own are no fields, searches or categories", () => {
  for (const name of ["constructor", "__proto__", "toString", "hasOwnProperty"]) {
    expect(load(rule({ detection: `s: { ${name}: x }\ncondition: s` })).warnings[0]?.message).toContain(`needs field ${name}`);
    expect(load(rule({ detection: "s: { Image: x }\ncondition: s", logsource: `{ category: ${name} }` })).rules).toEqual([]);
    expect(load(rule({ detection: `s: { Image: x }\ncondition: ${name}` })).errors).toHaveLength(1);
    expect(load(rule({ detection: `s: { Image|${name}: x }\ncondition: s` })).errors).toHaveLength(1);
  }
});

test("matches come in the order of the rules, found by program or not", () => {
  const rules = load(
    rule({ id: "1", detection: "s: { CommandLine|contains: http }\ncondition: s" }),
    rule({ id: "2", detection: "s: { Image|endswith: [/curl, /wget] }\ncondition: s" }),
    rule({ id: "3", detection: "s: { Image|endswith: /wget }\ncondition: s" }),
    rule({ id: "4", detection: "s: { Image: /usr/bin/curl }\nt: { ProcessId: 1 }\ncondition: s or t" }),
    rule({ id: "5", detection: "s: { Image|contains: cur }\ncondition: s" }),
    rule({ id: "6", detection: "s: { Image|endswith: curl }\ncondition: s" }),
    rule({ id: "7", detection: "s: { Image|endswith: '/c*' }\ncondition: s" }),
  ).rules;
  expect(
    compileRules(rules)
      .match(curl)
      .map(({ id }) => id),
  ).toEqual(["1", "2", "4", "5", "6", "7"]);
});

test("nothing of one event is left for the next", () => {
  const { match } = compileRules(
    load(rule({ detection: "s: { CommandLine|contains: http, CurrentDirectory: /tmp }\ncondition: s" })).rules,
  );
  expect(match(curl)).toHaveLength(1);
  expect(match(exec("/usr/bin/curl", ["curl", "http://x"]))).toEqual([]);
  expect(match(curl)).toHaveLength(1);
});

test("a pattern made to hang a backtracking engine does not", () => {
  const parts = { detection: "s: { CommandLine|re: '(a+)+$' }\nt: { CommandLine|re: '(.*a){20}b' }\ncondition: s or t" };
  expect(
    fires(
      parts,
      exec(
        "/bin/a",
        Array.from({ length: 2 }, () => `${"a".repeat(4000)}!`),
      ),
    ),
  ).toBe(false);
});

test("of a forged, endless command line only the start is read", () => {
  const parts = { detection: "s: { CommandLine|contains: secret }\ncondition: s" };
  const far = [...Array.from({ length: 31 }, () => "a".repeat(4096)), "secret"];
  expect(fires(parts, exec("/bin/a", ["a".repeat(4096), "b".repeat(4000), "secret"]))).toBe(true);
  expect(fires(parts, exec("/bin/a", far))).toBe(false);
});
