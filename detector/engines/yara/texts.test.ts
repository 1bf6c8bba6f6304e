// YARA rules over command lines: the real engine, in its thread.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SensorEvent } from "@picket/protocol/event";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { Engine, EventBatch, Findings } from "../../finding.ts";
import { decodedIn } from "./decoded.ts";
import { openTextRules, type TextRules, textEngine } from "./texts.ts";

vi.setConfig({ testTimeout: 60_000 });
let dir: string;
const logged: string[] = [];
const log = (_level: string, message: string) => void logged.push(message);
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "picket-texts-"));
});
afterAll(() => rmSync(dir, { recursive: true }));

let made = 0;
function pack(text: string): string {
  const path = join(dir, `pack-${made++}.yar`);
  writeFileSync(path, text);
  return path;
}
const forTexts = `rule typed { meta:
    title = "Typed marker"
    severity = "medium"
    attack = "T1059.004"
    text = true
  strings: $m = "marker-7" condition: $m }
rule file_only { strings: $m = "marker-7" condition: $m }`;
const open = (text: string) => openTextRules({ packs: [pack(text)], builtin: false, log });

const exec = (...argv: string[]) =>
  ({
    ...{ v: 1, device: "pi", epoch: "abcdefgh", seq: 1, timeMs: 1, type: "process.exec" },
    body: { process: { pid: 7, startTicks: 1, ppid: 1, uid: 0, exe: "/bin/sh", argv } },
  }) as SensorEvent;
const arrival = { id: "pi:abcdefgh:1", boot: "b", receivedMs: 1, silent: false };
const batch = (...events: SensorEvent[]): EventBatch => ({ events, arrivals: events.map(() => arrival) });
const base64 = (text: string, encoding: BufferEncoding = "utf8") => Buffer.from(text, encoding).toString("base64");

async function judged(engine: Engine, of: EventBatch): Promise<Findings> {
  return (await engine.judge(of)) ?? new Map();
}

test("a command line, and what it hides in base64, matches the rules that say they are meant for text, and no others", async () => {
  await using rules = await open(forTexts);
  const engine = textEngine(async () => rules);
  const findings = await judged(
    engine,
    batch(
      exec("sh", "-c", "echo marker-7"),
      exec("ls"),
      exec("sh", "-c", `echo ${base64("curl -s x; echo marker-7 and more")} | base64 -d | sh`),
      exec("pwsh", "-enc", base64(`write-host ${base64("say marker-7, say no more")}`, "utf16le")),
    ),
  );
  expect([...findings.keys()]).toEqual([0, 2, 3]);
  const [plain, hidden] = [findings.get(0)!, findings.get(2)!];
  expect(plain).toMatchObject([{ engine: "yara", rule: { id: "yara:typed", level: "medium", attack: { techniques: ["T1059.004"] } } }]);
  expect(plain[0]!.summary).toBe('sh (pid 7) has a command line that matches Typed marker: $m "marker-7". Text: sh -c echo marker-7');
  expect(hidden[0]!.summary).toBe(
    'sh (pid 7) hides in base64 in its command line what matches Typed marker: $m "marker-7". Text: curl -s x; echo marker-7 and more',
  );
});

test("a text is scanned once, and what is known and matches nothing costs no wait", async () => {
  await using rules = (await open(forTexts))!;
  let asked = 0;
  const counting: TextRules = {
    ...rules,
    scan: (text) => {
      const answer = rules.scan(text);
      if (!Array.isArray(answer)) asked++;
      return answer;
    },
  };
  const engine = textEngine(async () => counting);
  await judged(engine, batch(exec("ls"), exec("marker-7")));
  expect(asked).toBe(2);
  expect(engine.judge(batch(exec("ls")))).toBeUndefined();
  expect((await judged(engine, batch(exec("ls"), exec("marker-7")))).size).toBe(1);
  expect(asked).toBe(2);
});

test("without rules for texts nothing is opened, and nothing is asked", async () => {
  const rules = await open('rule file_only { strings: $m = "marker-7" condition: $m }');
  expect(rules).toBeUndefined();
  const engine = textEngine(async () => rules);
  await judged(engine, batch(exec("marker-7")));
  expect(engine.judge(batch(exec("marker-7 again")))).toBeUndefined();
});

test("a rule that hangs costs the text it hangs at; past three of them no text is scanned, which is said", async () => {
  await using rules = await open(
    forTexts +
      '\nrule hangs { meta:\n text = true\n strings: $a = "for ever" condition: $a and for all i in (0..1000000000) : (for all j in (0..1000) : (uint8(j % 4) < 300 + i)) }',
  );
  const engine = textEngine(async () => rules);
  expect((await judged(engine, batch(exec("for ever 1"), exec("marker-7")))).size).toBe(1);
  await judged(engine, batch(exec("for ever 2"), exec("for ever 3")));
  expect(logged.filter((message) => message.includes("could not be scanned"))).toHaveLength(3);
  expect(logged.at(-1)).toMatch(/no more command lines are scanned/);
  expect((await judged(engine, batch(exec("another marker-7")))).size).toBe(0);
});

test.each([
  ["short words", "ls aGVsbG8=", []],
  ["a hash", `sha ${"ab12cd34".repeat(8)}`, []],
  ["a path", "/usr/lib/x86_64-linux-gnu/libsomething/plugins", []],
  ["text", `x ${base64("echo this is a longer text")}`, ["echo this is a longer text"]],
  ["UTF-16", base64("echo this is a longer text", "utf16le"), ["echo this is a longer text"]],
])("decoded: %s", (_, text, found) => {
  expect(decodedIn(text)).toEqual(found);
});

test("what is coded a thousand times is bounded", () => {
  const many = Array.from({ length: 1000 }, (_, at) => base64(`this is text number ${at}`)).join(" ");
  expect(decodedIn(many)).toHaveLength(8);
});
