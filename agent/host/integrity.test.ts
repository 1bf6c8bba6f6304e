import { spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EventDraft, Process } from "@picket/protocol/event";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Integrity, startIntegrity } from "./integrity.ts";
import { readBaseline, writeBaseline } from "./integrity-baseline.ts";

let dir: string;
let etc: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "picket-integrity-"));
  etc = join(dir, "etc");
  mkdirSync(join(etc, "cron.d"), { recursive: true });
  writeFileSync(join(etc, "passwd"), "root\n", { mode: 0o644 });
  writeFileSync(join(etc, "cron.d/job"), "x\n");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const sha = (text: string) => new Bun.CryptoHasher("sha256").update(text).digest("hex");
const writer = { pid: 7, startTicks: 1, ppid: 1, uid: 0, exe: "/usr/bin/tee", argv: ["tee"] } satisfies Process;
type Body = Extract<EventDraft, { type: "file.integrity" }>["body"];

/** Compares every 20 ms; `ready` when the baseline is there. */
function start(of: { paths?: readonly string[]; everyS?: number } = {}) {
  const bodies: Body[] = [];
  const others: EventDraft[] = [];
  const integrity = startIntegrity({
    paths: () => of.paths ?? [etc],
    path: join(dir, "integrity.json"),
    everyS: of.everyS ?? 0.02,
    looksMs: [10, 60],
    emit: (draft) => (draft.type === "file.integrity" ? bodies.push(draft.body) : others.push(draft)),
  });
  const told = () => bodies.map(({ change, file }) => `${change} ${file.path.slice(dir.length + 1)}`);
  return { integrity, bodies, others, told, [Symbol.dispose]: () => integrity[Symbol.dispose]() };
}
const counts = (integrity: Integrity) => Number(/\d+/.exec(integrity.capability().why)?.[0]);
const learned = (integrity: Integrity, files = 4) => expect.poll(() => counts(integrity)).toBe(files);

test("the first look tells nothing; then content, owner, mode, new and gone files are told with before and after", async () => {
  using rig = start();
  await learned(rig.integrity);
  expect(rig.told()).toEqual([]);
  writeFileSync(join(etc, "passwd"), "root\nevil\n");
  await expect.poll(rig.told).toEqual(["changed etc/passwd"]);
  const { before, after } = rig.bodies[0]!;
  expect(before).toMatchObject({ sha256: sha("root\n"), uid: 0, gid: 0, mode: 0o100644, size: 5 });
  expect(after).toMatchObject({ sha256: sha("root\nevil\n"), size: 10 });
  chmodSync(join(etc, "passwd"), 0o666);
  await expect.poll(rig.told).toHaveLength(2);
  expect(rig.bodies[1]).toMatchObject({
    change: "changed",
    before: { mode: 0o100644 },
    after: { mode: 0o100666, sha256: sha("root\nevil\n") },
  });
  if (process.getuid?.() === 0) {
    chownSync(join(etc, "passwd"), 1000, 1000);
    await expect.poll(() => rig.bodies.at(-1)).toMatchObject({ before: { uid: 0 }, after: { uid: 1000, gid: 1000 } });
  }
  rig.bodies.length = 0;
  mkdirSync(join(etc, "new.d"));
  writeFileSync(join(etc, "new.d/a"), "");
  await expect.poll(rig.told).toEqual(["added etc/new.d", "added etc/new.d/a"]);
  expect(rig.bodies.every(({ before: was, process: by }) => was === undefined && by === undefined)).toBe(true);
  rig.bodies.length = 0;
  rmSync(join(etc, "cron.d"), { recursive: true });
  await expect.poll(() => rig.told().toSorted()).toEqual(["removed etc/cron.d", "removed etc/cron.d/job"]);
});

test("what was only touched, or written with the same content, is not told", async () => {
  using rig = start();
  await learned(rig.integrity);
  utimesSync(join(etc, "passwd"), 1, 1);
  writeFileSync(join(dir, "aside"), "x\n");
  renameSync(join(dir, "aside"), join(etc, "cron.d/job"));
  writeFileSync(join(etc, "last"), "");
  await expect.poll(rig.told).toEqual(["added etc/last"]);
});

test("who was seen writing is told with the change, at once and not at the next look at everything", async () => {
  using rig = start({ everyS: 3600 });
  await learned(rig.integrity);
  const path = join(etc, "passwd");
  writeFileSync(join(etc, "npasswd"), "root\nevil\n");
  renameSync(join(etc, "npasswd"), path);
  const draft = { type: "file.rename", timeMs: 1, body: { process: writer, file: { path: join(etc, "npasswd"), to: path } } } as const;
  expect(rig.integrity.see(draft)).toBe(draft);
  await expect
    .poll(() => rig.bodies)
    .toMatchObject([{ process: writer, file: { path }, change: "changed", after: { sha256: sha("root\nevil\n") } }]);
});

test("who writes slowly is still told at the second look; the last of several writers is named", async () => {
  using rig = start({ everyS: 3600 });
  await learned(rig.integrity);
  const path = join(etc, "passwd");
  const see = (pid: number) => rig.integrity.see({ type: "file.modify", timeMs: 1, body: { process: { ...writer, pid }, file: { path } } });
  see(1);
  see(2);
  setTimeout(() => writeFileSync(path, "later"), 30);
  await expect.poll(() => rig.bodies).toMatchObject([{ process: { pid: 2 }, after: { sha256: sha("later") } }]);
});

test("the same path inside a container, and paths nobody asked for, are not looked at", async () => {
  using rig = start({ everyS: 3600, paths: [join(etc, "passwd"), join(etc, "cron.d")] });
  await learned(rig.integrity, 3);
  for (const name of ["passwd", "passwd2"]) writeFileSync(join(etc, name), "new");
  const inside = { ...writer, container: { id: "abc" } };
  rig.integrity.see({ type: "file.modify", timeMs: 1, body: { process: inside, file: { path: join(etc, "passwd") } } });
  rig.integrity.see({ type: "file.create", timeMs: 1, body: { process: writer, file: { path: join(etc, "passwd2") } } });
  writeFileSync(join(etc, "cron.d/job"), "y");
  rig.integrity.see({ type: "file.modify", timeMs: 1, body: { process: writer, file: { path: join(etc, "cron.d/job") } } });
  await expect.poll(rig.told).toEqual(["changed etc/cron.d/job"]);
});

test("a restart tells what changed meanwhile, without a process, and nothing else; the baseline is for this user only", async () => {
  {
    using rig = start();
    await learned(rig.integrity);
  }
  expect(statSync(join(dir, "integrity.json")).mode & 0o777).toBe(0o600);
  writeFileSync(join(etc, "passwd"), "evil");
  {
    using rig = start();
    await expect.poll(rig.told).toEqual(["changed etc/passwd"]);
    expect(rig.bodies[0]?.process).toBeUndefined();
  }
  using rig = start();
  writeFileSync(join(etc, "last"), "");
  await expect.poll(rig.told).toEqual(["added etc/last"]);
});

test("a path that is newly configured is learned, one that no longer is is forgotten: nothing is told of either", async () => {
  {
    using rig = start({ paths: [join(etc, "passwd")] });
    await learned(rig.integrity, 1);
  }
  using rig = start({ paths: [join(etc, "cron.d")] });
  await learned(rig.integrity, 2);
  writeFileSync(join(etc, "cron.d/b"), "");
  await expect.poll(rig.told).toEqual(["added etc/cron.d/b"]);
});

test("links are compared as links: where they lead to is neither read nor listed", async () => {
  const secret = join(dir, "secret");
  mkdirSync(secret);
  writeFileSync(join(secret, "key"), "a");
  symlinkSync(secret, join(etc, "folder"));
  symlinkSync(join(secret, "key"), join(etc, "file"));
  using rig = start();
  await learned(rig.integrity, 6);
  writeFileSync(join(secret, "key"), "b");
  rmSync(join(etc, "file"));
  symlinkSync("/etc/shadow", join(etc, "file"));
  await expect.poll(rig.told).toContain("changed etc/file");
  expect(rig.told().filter((text) => text.includes("key"))).toEqual([]);
  expect(rig.bodies.at(-1)?.after).toMatchObject({ sha256: sha("/etc/shadow"), mode: 0o120777 });
});

test("a FIFO stops nobody, a huge file is not read, and a file that vanishes while it is looked at is no error", async () => {
  Bun.spawnSync(["mkfifo", join(etc, "pipe")]);
  Bun.spawnSync(["truncate", "-s", "1T", join(etc, "huge")]);
  using rig = start();
  await learned(rig.integrity, 6);
  for (let at = 0; at < 300; at++) {
    writeFileSync(join(etc, "flicker"), String(at));
    rmSync(join(etc, "flicker"));
    if (at % 20 === 0) await new Promise(setImmediate);
  }
  Bun.spawnSync(["truncate", "-s", "2T", join(etc, "huge")]);
  await expect.poll(rig.told).toContain("changed etc/huge");
  expect(rig.bodies.find(({ file }) => file.path.endsWith("huge"))?.after).toMatchObject({ size: 2 * 2 ** 40 });
  expect(rig.integrity.capability().level).toBe("live");
});

test("more files than anybody configures on purpose are left out, and that is said", { timeout: 20_000 }, async () => {
  for (let at = 0; at < 5100; at++) writeFileSync(join(etc, `f${at}`), "");
  using rig = start({ everyS: 3600 });
  await expect
    .poll(() => rig.integrity.capability(), { timeout: 15_000 })
    .toMatchObject({ level: "degraded", why: expect.stringContaining("more than 5000") });
});

test("a baseline that was tampered with begins anew, and is said; one that cannot be written too", async () => {
  writeFileSync(join(dir, "integrity.json"), '{"v":1,"ro');
  {
    using rig = start();
    await learned(rig.integrity);
    expect(rig.others).toMatchObject([{ type: "sensor.state", body: { collector: "integrity", level: "degraded" } }]);
    expect(rig.told()).toEqual([]);
    rmSync(join(dir, "integrity.json"));
    mkdirSync(join(dir, "integrity.json.new"));
  }
  using rig = start();
  await expect
    .poll(() => rig.integrity.capability(), { timeout: 5000 })
    .toMatchObject({ level: "degraded", why: expect.stringContaining("EISDIR") });
});

test("a kill between writing and renaming leaves the baseline before: the change is told again, never lost", async () => {
  {
    using rig = start();
    await learned(rig.integrity);
  }
  writeFileSync(join(dir, "integrity.json.new"), readFileSync(join(dir, "integrity.json")).subarray(0, 40));
  writeFileSync(join(etc, "passwd"), "evil");
  using rig = start();
  await expect.poll(rig.told).toEqual(["changed etc/passwd"]);
  expect(rig.others).toEqual([]);
});

test("killed at any moment of writing, the baseline is whole", { timeout: 20_000 }, async () => {
  const path = join(dir, "b.json");
  const module = new URL("integrity-baseline.ts", import.meta.url).pathname;
  const state = { uid: 0, gid: 0, mode: 0, size: 0 };
  const code = `import { writeBaseline } from ${JSON.stringify(module)};
    for (let size = 1; ; size = size % 3000 + 500)
      writeBaseline(${JSON.stringify(path)}, { roots: new Set(["/etc"]), files: new Map(Array.from({ length: size }, (_, at) => ["/etc/" + at, { state: ${JSON.stringify(state)}, identity: "x" }])) });`;
  for (let round = 0; round < 5; round++) {
    const child = spawn(process.execPath, ["-e", code], { stdio: "ignore" });
    const before = existsSync(path) ? statSync(path).ino : 0;
    await expect.poll(() => (existsSync(path) ? statSync(path).ino : 0), { timeout: 10_000, interval: 7 * (round + 1) }).not.toBe(before);
    const ended = new Promise((resolve) => child.on("exit", resolve));
    child.kill("SIGKILL");
    await ended;
    expect(readBaseline(path)?.files.size).toBeGreaterThan(0);
  }
  writeBaseline(path, { roots: new Set(), files: new Map() });
  expect(readBaseline(path)?.files.size).toBe(0);
});
