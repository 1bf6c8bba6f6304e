import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EventDraft, EventOf, Process } from "@picket/protocol/event";
import { MAX_SAMPLE_BYTES } from "@picket/protocol/samples";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createPace } from "../pace.ts";
import { Found } from "./found.ts";
import { Hashes } from "./hashes.ts";

const sha256 = (bytes: string | Uint8Array) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
let dir: string;
let open: Disposable[];
beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), "pkhash-")));
  for (const name of ["watched", "secret", "elsewhere"]) mkdirSync(join(dir, name));
  mkdirSync(join(dir, "watched/logs"));
  open = [];
});
afterEach(() => {
  for (const one of open) one[Symbol.dispose]();
  rmSync(dir, { recursive: true, force: true });
});

type HashEvent = Pick<EventOf<"file.hash">, "body">;

function start(pace = createPace(1e12)) {
  const events: HashEvent[] = [];
  const found = new Found(join(dir, "hashes.ndjson"), () => performance.now());
  const hashes = new Hashes({
    places: { write: [`${dir}/watched/`], secret: [`${dir}/secret/`, `${dir}/watched/key`], skip: [`${dir}/watched/logs/`] },
    found,
    emit: (draft) => void events.push(draft as HashEvent),
    pace,
    monotonicMs: () => performance.now(),
  });
  open.push(hashes);
  return { hashes, events, found };
}

const at = (...parts: string[]) => join(dir, ...parts);
const proc = (exe: string, more: Partial<Process> = {}): Process => ({
  ...{ pid: process.pid, startTicks: 1, ppid: 1, uid: 0, exe, argv: [exe], cwd: dir },
  ...more,
});
const draft = (type: "file.create" | "file.modify", path: string, more: Partial<Process> = {}): EventDraft => ({
  type,
  timeMs: Date.now(),
  body: { process: proc("/usr/bin/cp", more), file: { path } },
});
const ran = (process: Process): Extract<EventDraft, { type: "process.exec" }> => ({
  type: "process.exec",
  timeMs: Date.now(),
  body: { process },
});

async function until(what: () => boolean) {
  for (const end = Date.now() + 10_000; !what(); await Bun.sleep(10))
    if (Date.now() > end) throw new Error("did not come true within 10 s");
}
/** A file written after all others: when its hash is out, so is what came before. */
async function settled({ hashes, events }: ReturnType<typeof start>) {
  const path = at("watched", `last-${crypto.randomUUID()}`);
  writeFileSync(path, path);
  hashes.see(draft("file.create", path));
  await until(() => events.some(({ body }) => body.file.path === path));
  return events.filter(({ body }) => !body.file.path.startsWith(at("watched/last-")));
}

test("a file that was written is reported with hash and size, once", async () => {
  const it = start();
  const path = at("watched/a");
  writeFileSync(path, "hello");
  it.hashes.see(draft("file.create", path));
  it.hashes.see(draft("file.modify", path));
  const [event, ...more] = await settled(it);
  expect(event?.body).toMatchObject({ file: { path, sha256: sha256("hello"), size: 5 }, process: { exe: "/usr/bin/cp" } });
  it.hashes.see(draft("file.modify", path));
  expect([more, await settled(it).then((all) => all.length)]).toEqual([[], 1]);
});

test("a file that is deleted at once is hashed and can still be sent", async () => {
  const { hashes, events } = start();
  const path = at("watched/gone");
  writeFileSync(path, "short life");
  hashes.see(draft("file.create", path));
  rmSync(path);
  await until(() => events.length === 1);
  using file = await hashes.open(sha256("short life"));
  expect((await file!.read(0, 100))!.toString()).toBe("short life");
});

test("a file renamed before it rested is reported under its last name only", async () => {
  const it = start();
  writeFileSync(at("watched/x.new"), "package");
  it.hashes.see(draft("file.create", at("watched/x.new")));
  renameSync(at("watched/x.new"), at("watched/x"));
  it.hashes.see({
    type: "file.rename",
    timeMs: 1,
    body: { process: proc("/usr/bin/dpkg"), file: { path: at("watched/x.new"), to: at("watched/x") } },
  });
  expect((await settled(it)).map(({ body }) => body.file.path)).toEqual([at("watched/x")]);
});

test("a file that is still being written is hashed when it rests", async () => {
  const it = start();
  const path = at("watched/slow");
  writeFileSync(path, "");
  it.hashes.see(draft("file.create", path));
  for (let round = 0; round < 12; round++) {
    writeFileSync(path, "x".repeat(round + 1));
    await Bun.sleep(100);
  }
  await until(() => it.events.length > 0);
  expect(it.events.map(({ body }) => body.file.size)).toEqual([12]);
});

test("a file that says it was written tomorrow is hashed today", async () => {
  const it = start();
  const path = at("watched/tomorrow");
  writeFileSync(path, "evil");
  const tomorrow = Date.now() / 1000 + 86_400;
  utimesSync(path, tomorrow, tomorrow);
  it.hashes.see(draft("file.create", path));
  expect((await settled(it)).map(({ body }) => body.file.path)).toEqual([path]);
});

test("a file that was written over and says that it was not is hashed again", async () => {
  const it = start();
  const path = at("watched/index.php");
  const write = (text: string) => {
    writeFileSync(path, text);
    utimesSync(path, 1e9, 1e9);
    it.hashes.see(draft("file.create", path));
  };
  const hashes = () => it.events.flatMap(({ body }) => (body.file.path === path ? [body.file.sha256] : []));
  write("good");
  await until(() => hashes().length > 0);
  write("evil");
  await until(() => hashes().length > 1);
  expect(hashes()).toEqual([sha256("good"), sha256("evil")]);
});

test("secrets, logs, FIFOs, folders, links, empty files and what lies elsewhere are left alone", async () => {
  const it = start();
  writeFileSync(at("secret/shadow"), "root:x");
  writeFileSync(at("watched/key"), "private");
  writeFileSync(at("watched/logs/a.log"), "line");
  writeFileSync(at("elsewhere/file"), "other");
  writeFileSync(at("watched/empty"), "");
  mkdirSync(at("watched/folder"));
  Bun.spawnSync(["mkfifo", at("watched/fifo")]);
  symlinkSync(at("secret/shadow"), at("watched/link"));
  symlinkSync(at("elsewhere/file"), at("watched/link2"));
  for (const name of [
    "watched/key",
    "watched/logs/a.log",
    "elsewhere/file",
    "watched/empty",
    "watched/folder",
    "watched/fifo",
    "watched/link",
    "watched/link2",
  ])
    it.hashes.see(draft("file.create", at(name)));
  expect(await settled(it)).toEqual([]);
});

test("a folder made a link after the event leads nowhere", async () => {
  const it = start();
  writeFileSync(at("secret/shadow"), "root:x");
  writeFileSync(at("elsewhere/shadow"), "not ours");
  for (const [name, target] of [
    ["trap1", "secret"],
    ["trap2", "elsewhere"],
  ] as const) {
    symlinkSync(at(target), at("watched", name));
    it.hashes.see(draft("file.create", at("watched", name, "shadow")));
  }
  expect(await settled(it)).toEqual([]);
});

test("a program is hashed as the kernel runs it, also when its file was replaced; the next run has the hash at once", async () => {
  const it = start();
  const path = at("elsewhere/prog");
  const bytes = Buffer.concat([readFileSync("/bin/sleep"), Buffer.from("mark")]);
  writeFileSync(path, bytes, { mode: 0o755 });
  const child = Bun.spawn([path, "30"]);
  await until(() => realpathOrNot(`/proc/${child.pid}/exe`) === path);
  rmSync(path);
  const first = ran(proc(path, { pid: child.pid }));
  it.hashes.see(first);
  expect(first.body.process.sha256).toBeUndefined();
  await until(() => it.events.length === 1);
  expect(it.events[0]!.body).toMatchObject({ process: { exe: path, sha256: sha256(bytes) }, file: { path, size: bytes.length } });
  const again = ran(proc(path, { pid: child.pid }));
  it.hashes.see(again);
  expect(again.body.process.sha256).toBe(sha256(bytes));
  child.kill();
  await child.exited;
  using file = await it.hashes.open(sha256(bytes));
  expect(file?.size).toBe(bytes.length);
});

test("a program that is gone is hashed by its path when nothing of the file changed since; else it is not", async () => {
  const it = start();
  const old = at("elsewhere/old");
  writeFileSync(old, "old program", { mode: 0o755 });
  await Bun.sleep(100);
  const gone = { pid: 4_000_000 };
  it.hashes.see(ran(proc(old, gone)));
  await until(() => it.events.length === 1);
  expect(it.events[0]!.body.file).toEqual({ path: old, sha256: sha256("old program"), size: 11 });
  const before = ran(proc(old, gone));
  writeFileSync(old, "another");
  it.hashes.see(before);
  expect(before.body.process.sha256).toBeUndefined();
  // This process runs something else than the event says: its program is none of the event's business.
  it.hashes.see(ran(proc(at("elsewhere/none"))));
  expect(await settled(it)).toHaveLength(1);
});

test("the script of an interpreter is hashed, but not what the user could not read", async () => {
  const it = start();
  const script = at("elsewhere/run.sh");
  writeFileSync(script, "#!/bin/sh\n");
  chmodSync(dir, 0o755);
  writeFileSync(at("elsewhere/private"), "of root", { mode: 0o600 });
  mkdirSync(at("elsewhere/closed"), { mode: 0o700 });
  writeFileSync(at("elsewhere/closed/notes"), "in a folder he cannot enter", { mode: 0o644 });
  writeFileSync(at("secret/s.sh"), "secret");
  const sh = { pid: 4_000_000, uid: 12345 };
  it.hashes.see(ran(proc("/usr/bin/none/dash", { ...sh, argv: ["sh", "-x", "elsewhere/run.sh", "arg"] })));
  it.hashes.see(ran(proc("/usr/bin/none/dash", { ...sh, argv: ["sh", at("elsewhere/private")] })));
  it.hashes.see(ran(proc("/usr/bin/none/dash", { ...sh, argv: ["sh", at("elsewhere/closed/notes")] })));
  it.hashes.see(ran(proc("/usr/bin/none/dash", { ...sh, argv: ["sh", at("secret/s.sh")] })));
  it.hashes.see(ran(proc("/usr/bin/none/dash", { ...sh, argv: ["sh", "-c", script] })));
  expect((await settled(it)).map(({ body }) => body.file.path)).toEqual([script]);
});

test("only what was reported can be opened, and only as long as it is the same", async () => {
  const { hashes, events } = start();
  const path = at("watched/a");
  writeFileSync(path, "first");
  expect(await hashes.open(sha256("first"))).toBeUndefined();
  hashes.see(draft("file.create", path));
  await until(() => events.length === 1);
  {
    using file = await hashes.open(sha256("first"));
    expect((await file!.read(1, 3))!.toString()).toBe("irs");
    writeFileSync(path, "other");
    expect(await file!.read(0, 3)).toBeUndefined();
  }
  expect(await hashes.open(sha256("first"))).toBeUndefined();
  expect(await hashes.open(sha256("other"))).toBeUndefined();
});

test("what was reported is known after a restart, and not reported again", async () => {
  const path = at("watched/a");
  writeFileSync(path, "lasting");
  const first = start();
  first.hashes.see(draft("file.create", path));
  await settled(first);
  for (const one of open.splice(0)) one[Symbol.dispose]();
  writeFileSync(at("hashes.ndjson"), `${readFileSync(at("hashes.ndjson"), "utf8")}{"sha256":"torn`);
  const second = start();
  second.hashes.see(draft("file.modify", path));
  expect((await settled(second)).map(({ body }) => body.file.path)).toEqual([]);
  using file = await second.hashes.open(sha256("lasting"));
  expect(file?.size).toBe(7);
  expect(second.hashes.state().hashed).toBe(1);
});

test("a file at its old place that became a link to another is not sent", async () => {
  const path = at("watched/a");
  writeFileSync(path, "public");
  writeFileSync(at("secret/copy"), "public");
  const first = start();
  first.hashes.see(draft("file.create", path));
  await settled(first);
  for (const one of open.splice(0)) one[Symbol.dispose]();
  rmSync(path);
  symlinkSync(at("secret/copy"), path);
  expect(await start().hashes.open(sha256("public"))).toBeUndefined();
});

test("a file that is too large is left out, and too many at once are; both are counted", async () => {
  let go = () => {};
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  const it = start(() => gate);
  writeFileSync(at("watched/large"), "");
  truncateSync(at("watched/large"), MAX_SAMPLE_BYTES + 1);
  it.hashes.see(draft("file.create", at("watched/large")));
  await until(() => it.hashes.state().tooLarge === 1);
  for (let n = 0; n < 300; n++) {
    const path = at("elsewhere", `p${n}`);
    writeFileSync(path, `program ${n}`);
    chmodSync(path, 0o755);
  }
  await Bun.sleep(100);
  for (let n = 0; n < 300; n++) it.hashes.see(ran(proc(at("elsewhere", `p${n}`), { pid: 4_000_000 })));
  expect(it.hashes.state()).toMatchObject({ droppedLately: true });
  const { dropped } = it.hashes.state();
  expect(dropped).toBeGreaterThanOrEqual(43);
  go();
  await until(() => it.events.length === 300 - dropped);
  expect(existsSync(at("watched/large"))).toBe(true);
});

function realpathOrNot(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}
