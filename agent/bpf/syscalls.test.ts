import { expect, test } from "vitest";
import { openLibbpf } from "./libbpf.ts";
import { listPrograms } from "./load.ts";
import { objectBytes } from "./object.ts";
import { numberOf, syscalls } from "./syscalls.ts";

const has = (command: string) => Bun.which(command) !== null;
const noClang = has("clang") ? "" : " (skipped: needs clang for the kernel's headers)";

test.skipIf(noClang !== "").each([
  ["x64", "x86_64-linux-gnu"],
  ["arm64", "aarch64-linux-gnu"],
] as const)(`numbers of %s are those of the kernel's headers${noClang}`, (arch, target) => {
  // arm64 uses the generic table, with one old call.
  const header = arch === "x64" ? "asm/unistd_64.h" : "asm-generic/unistd.h";
  const { stdout, exitCode } = Bun.spawnSync([
    "clang",
    `--target=${target}`,
    "-I/usr/include/x86_64-linux-gnu",
    "-D__ARCH_WANT_RENAMEAT",
    "-E",
    "-dM",
    "-include",
    header,
    "-x",
    "c",
    "/dev/null",
  ]);
  expect(exitCode).toBe(0);
  const defined = new Map(
    [...stdout.toString().matchAll(/^#define __NR(3264)?_(\w+) (\d+)$/gm)].map(([, , name, number]) => [name!, Number(number)]),
  );
  expect(defined.size).toBeGreaterThan(250);
  for (const [name, number] of Object.entries(syscalls[arch]))
    if (name !== "fchmodat2" || defined.has(name)) expect([name, defined.get(name)]).toEqual([name, number]);
});

const noLibbpf = (() => {
  try {
    openLibbpf();
    return "";
  } catch (error) {
    return ` (skipped: ${error instanceof Error ? error.message : error})`;
  }
})();

test.skipIf(noLibbpf !== "")(`every program of a system call has its number${noLibbpf}`, () => {
  const events = listPrograms(objectBytes("ring")).map(({ event }) => event);
  const calls = events.filter((event) => event.startsWith("syscalls/"));
  expect(calls.length).toBeGreaterThan(40);
  for (const event of calls) expect([event, numberOf(event, "x64")]).toEqual([event, expect.any(Number)]);
});
