import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readSources } from "./packages.ts";

let etc: string;
beforeEach(() => {
  etc = mkdtempSync(join(tmpdir(), "picket-apt-"));
  mkdirSync(join(etc, "sources.list.d"));
});
afterEach(() => rmSync(etc, { recursive: true, force: true }));

const of = (name: string, text: string) => writeFileSync(join(etc, name), text);

test("sources in one line lose their architecture and keep the rest", () => {
  of(
    "sources.list",
    "# mine\ndeb [arch=amd64 signed-by=/k.gpg] http://mirror.invalid/debian bookworm main contrib\ndeb-src http://mirror.invalid/debian bookworm main\ndeb cdrom:[disk]/ bookworm main\ndeb [ arch=amd64,i386 ] http://mirror.invalid/debian bookworm-updates main\n",
  );
  expect(readSources(etc, []).get("sources.list")).toBe(
    "deb [signed-by=/k.gpg] http://mirror.invalid/debian bookworm main contrib\ndeb http://mirror.invalid/debian bookworm-updates main",
  );
});

test("sources in fields lose their architectures and keep the rest, a key of many lines too", () => {
  of(
    "sources.list.d/debian.sources",
    "Types: deb deb-src\nURIs: http://mirror.invalid/debian\nSuites: bookworm bookworm-updates\nComponents: main\nArchitectures: amd64\nSigned-By:\n -----BEGIN-----\n .\n abc\n",
  );
  expect(readSources(etc, []).get("debian.sources")).toBe(
    "Types: deb\nURIs: http://mirror.invalid/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By:\n -----BEGIN-----\n .\n abc\n",
  );
});

test("another suite is looked for only where there are updates", () => {
  of("sources.list", "deb http://mirror.invalid/debian bookworm main\ndeb http://mirror.invalid/debian bookworm-updates main\n");
  of("sources.list.d/vendor.sources", "Types: deb\nURIs: http://vendor.invalid\nSuites: stable\nComponents: main\n");
  of("sources.list.d/debian.sources", "Types: deb\nURIs: http://mirror.invalid\nSuites: bookworm bookworm-updates\nComponents: main\n");
  const sources = readSources(etc, ["bookworm-backports"]);
  expect(sources.get("sources.list")?.split("\n")).toContain("deb http://mirror.invalid/debian bookworm-backports main");
  expect(sources.get("sources.list")?.match(/bookworm-backports/g)).toHaveLength(1);
  expect(sources.get("vendor.sources")).not.toContain("backports");
  expect(sources.get("debian.sources")).toContain("Suites: bookworm bookworm-updates bookworm-backports\n");
});

test("files that apt does not read are left out, and those that say nothing", () => {
  of("sources.list", "# empty\n");
  of("sources.list.d/old.list.disabled", "deb http://mirror.invalid/debian bookworm main\n");
  expect(readSources(etc, [])).toEqual(new Map());
});
