import { expect, test } from "vitest";
import { nameBits, starts, watchBits } from "./layout.gen.ts";
import { isNear, namesOf, pathHash, startsOf, trieOf } from "./watch.ts";

test("a longer prefix keeps the bits of the shorter one that covers it", () => {
  const trie = trieOf({ read: ["/etc/shadow"], write: ["/etc/"] });
  expect(trie.get("/etc/shadow")).toBe(watchBits.read | watchBits.write);
  expect(trie.get("/etc/")).toBe(watchBits.write);
});

test("one prefix may be watched for both", () => {
  expect(trieOf({ read: ["/srv/"], write: ["/srv/"] }).get("/srv/")).toBe(watchBits.read | watchBits.write);
});

test("names: the file itself, and every directory on the way", () => {
  const names = namesOf({ read: ["/etc/ssh/ssh_host_key"], write: [] });
  expect(names.get(pathHash("ssh_host_key"))).toBe(nameBits.file);
  expect(names.get(pathHash("ssh"))).toBe(nameBits.dir);
  expect(names.get(pathHash("/etc/ssh"))).toBe(nameBits.whole);
  expect(names.get(pathHash("/etc"))).toBe(nameBits.whole);
});

test("names of files are for reading only", () => {
  expect(namesOf({ read: [], write: ["/etc/passwd"] }).get(pathHash("passwd"))).toBeUndefined();
});

test("FNV-1a as published", () => {
  expect(pathHash("")).toBe(0xcbf29ce484222325n);
  expect(pathHash("foobar")).toBe(0x85944171f73967e8n);
});

test.each([
  ["/etc", true],
  ["/", true],
  ["/etc/ssh", false],
  ["/root/.ssh", true],
  ["/root/.ssh/keys", true],
  ["/root", true],
  ["/rootless", false],
  ["/home", false],
])("%s is near a watched path: %s", (directory, near) => {
  expect(isNear(directory, ["/etc/shadow", "/root/.ssh/"])).toBe(near);
});

const bitsOf = (table: Buffer) =>
  table.subarray(starts.bits, starts.bits + starts.bitsSize).reduce((sum, byte) => sum + byte.toString(2).replaceAll("0", "").length, 0);

test("each prefix sets one bit for its beginning; one too short for that opens the way for every path", () => {
  expect(bitsOf(startsOf(["/etc/", "/etc/sh", "/usr/lib/systemd/", "/usr/lib/systemd/system/"]))).toBe(3);
  expect(startsOf(["/etc/"]).readUInt32LE(starts.shorter)).toBe(0);
  expect(startsOf(["/etc/", "/opt"]).readUInt32LE(starts.shorter)).toBe(1);
});
