import { readFileSync, readlinkSync } from "node:fs";
import { expect, test } from "vitest";
import { codeForgetter, codeRanges } from "./code-pages.ts";

const mapping = (header: string, anonymous: number) => `${header}
Size:               1000 kB
Rss:                 900 kB
Anonymous:        ${String(anonymous).padStart(6)} kB
VmFlags: rd mr mw me sd
`;

test.each([
  ["code", "00400000-00500000 r-xp 00001000 08:01 7                    /usr/bin/agent", 0, 1],
  ["constants", "00400000-00500000 r--p 00001000 08:01 7                    /usr/bin/agent", 0, 1],
  ["data", "00400000-00500000 rw-p 00001000 08:01 7                    /usr/bin/agent", 0, 0],
  ["what the loader has written and then locked", "00400000-00500000 r--p 00001000 08:01 7                    /usr/bin/agent", 4, 0],
  ["code with a breakpoint in it", "00400000-00500000 r-xp 00001000 08:01 7                    /usr/bin/agent", 4, 0],
  ["another program", "00400000-00500000 r-xp 00001000 08:01 8                    /usr/bin/agent2", 0, 0],
  ["memory without a file", "00400000-00500000 r-xp 00000000 00:00 0 ", 0, 0],
])("%s", (_, header, anonymous, found) => {
  const others = mapping("00100000-00200000 r--p 00000000 08:01 9                    /lib/libc.so.6", 0);
  const ranges = codeRanges(others + mapping(header, anonymous) + others, "/usr/bin/agent");
  expect(ranges).toEqual(found ? [{ address: 0x400000, length: 0x100000 }] : []);
});

function residentCode(): number {
  const program = readlinkSync("/proc/self/exe");
  const parts = readFileSync("/proc/self/smaps", "latin1").split(/\n(?=[0-9a-f]+-)/);
  const code = parts.filter((part) => / r-xp .*/.exec(part.split("\n", 1)[0]!)?.[0].endsWith(program));
  return code.reduce((sum, part) => sum + Number(/^Rss:\s+(\d+)/m.exec(part)![1]), 0);
}

test("a program goes on, in less memory", () => {
  const forget = codeForgetter();
  const before = residentCode();
  forget();
  expect(residentCode()).toBeLessThan(before);
  expect(Bun.markdown.html("*a*")).toContain("<em>a</em>");
});
