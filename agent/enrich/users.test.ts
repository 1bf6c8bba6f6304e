import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { expandHomes, mayBeCalled, parsePasswd, userNames } from "./users.ts";

const text = `root:x:0:0:root:/root:/bin/bash
# a comment
toor:x:0:0::/root:/bin/sh
pi:x:1000:1000::/home/pi/:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
broken
`;

test("lines that make no sense are left out", () => {
  expect(parsePasswd(text).map(({ name, uid }) => [name, uid])).toEqual([
    ["root", 0],
    ["toor", 0],
    ["pi", 1000],
    ["nobody", 65534],
  ]);
});

test("homes: each once, only those that exist", () => {
  expect(expandHomes(["~/.ssh/", "/etc/shadow"], parsePasswd(text), (path) => path !== "/nonexistent")).toEqual([
    "/root/.ssh/",
    "/home/pi/.ssh/",
    "/etc/shadow",
  ]);
});

test("names: the first line of a uid wins; a user added later is found when the file has changed", () => {
  const dir = mkdtempSync(join(tmpdir(), "pksens-users-"));
  try {
    const path = join(dir, "passwd");
    let now = 0;
    writeFileSync(path, text);
    const name = userNames(path, () => now);
    expect([name(0), name(1000), name(1001)]).toEqual(["root", "pi", undefined]);
    writeFileSync(path, `${text}ann:x:1001:1001::/home/ann:/bin/sh\n`);
    now += 6_000;
    expect(name(1001)).toBe("ann");
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("without the file uids have no names", () => {
  expect(userNames("/nonexistent/passwd", () => 0)(0)).toBeUndefined();
});

test("whom a name may mean: a user of that number, or one that only a directory server knows", () => {
  const dir = mkdtempSync(join(tmpdir(), "pksens-users-"));
  try {
    const path = join(dir, "passwd");
    writeFileSync(path, text);
    const may = mayBeCalled(path);
    expect([may(1000, "pi"), may(1000, "root"), may(1000, "ann"), may(7000, "ann"), may(7000, "pi")]).toEqual([
      true,
      false,
      false,
      true,
      false,
    ]);
    expect(mayBeCalled(join(dir, "none"))(1000, "pi")).toBe(true);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
