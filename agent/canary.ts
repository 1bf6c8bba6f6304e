// The agent watches itself watching: now and then it starts a program that makes a file, and connects to nobody, and expects the sensor to tell of all three.
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { lstatSync, mkdtempSync, readdirSync, rmdirSync, rmSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CANARY_FOLDER } from "@picket/protocol/canary";
import type { EventDraft } from "@picket/protocol/event";
import type { Capability } from "@picket/protocol/status";

/** What each collector has to bring back. */
export const watchedCollectors = ["exec", "file", "net"] as const;
type Collector = (typeof watchedCollectors)[number];

/** The sensor looks at the ring 20 times a second; a host so busy that this is too short is blind as well. */
const EXPECTED_WITHIN_MS = 10_000;
/** The kernel side lets the agent's own connections to this port of 127.0.0.0/8 through (bpf/net.bpf.h). Discard, RFC 863: connecting a datagram socket sends nothing. */
export const CANARY_PORT = 9;

const LEFT_MS = 2 * 3600_000;

export type CanaryOptions = {
  readonly everyMs: number;
  /** Collectors that are known not to run are not expected to bring anything. */
  readonly runs: (collector: Collector) => boolean;
  readonly emit: (draft: EventDraft) => void;
  /** Default `EXPECTED_WITHIN_MS`. */
  readonly withinMs?: number;
};

export type Canary = Disposable & {
  /** Below which the canary makes its files: to be watched for writing, before the sensor starts. */
  readonly dir: string;
  /** Begins; call it when the sensor runs. */
  start(): void;
  /** From now on this often. */
  every(ms: number): void;
  /**
   * To be told of every draft of the sensor. True when it is of a file or connection that only the canary can have caused, which nobody has to look
   * at. A start of a program is never that: its arguments are anybody's to copy.
   */
  saw(draft: EventDraft): boolean;
  capability(): Capability;
  /** When something last came back, wall time in milliseconds. */
  seenMs(): number | undefined;
};

type Cause = { readonly path: string; readonly ip: string };

/** Makes the canary's folder. Says `sensor.state` degraded when something does not come back, and live when it does again. */
export function createCanary(options: CanaryOptions): Canary {
  const dir = makeFolder();
  const missing = new Set<Collector>();
  let lastMs: number | undefined;
  let cause: Cause | undefined;
  let expected = new Set<Collector>();
  const timers: NodeJS.Timeout[] = [];
  let { everyMs } = options;
  const tell = (collector: Collector, level: "live" | "degraded", why: string) =>
    options.emit({ type: "sensor.state", timeMs: Date.now(), body: { collector, level, why } });

  const judge = () => {
    cause = undefined;
    for (const collector of expected) {
      if (missing.has(collector)) continue;
      missing.add(collector);
      tell(collector, "degraded", lost[collector]);
    }
  };
  const sing = () => {
    expected = new Set(watchedCollectors.filter(options.runs));
    for (const collector of missing) if (!expected.has(collector)) missing.delete(collector);
    cause = { path: join(dir, randomBytes(8).toString("hex")), ip: `127.${[...randomBytes(3)].join(".")}` };
    perform(cause);
    timers[1] = setTimeout(judge, options.withinMs ?? EXPECTED_WITHIN_MS);
  };
  return {
    dir: `${dir}/`,
    start() {
      sing();
      timers[0] = setInterval(sing, everyMs);
    },
    every(ms) {
      everyMs = ms;
      if (timers[0] === undefined) return;
      clearInterval(timers[0]);
      timers[0] = setInterval(sing, ms);
    },
    saw(draft) {
      const collector = cause && broughtBack(draft, cause);
      if (!collector) return false;
      if (expected.delete(collector)) {
        lastMs = Date.now();
        if (missing.delete(collector)) tell(collector, "live", "the canary comes back again");
      }
      return collector !== "exec";
    },
    capability() {
      if (missing.size > 0) {
        const why = [...missing].map((collector) => lost[collector]).join("; ");
        return {
          name: "canary",
          level: "degraded",
          why,
          todo: "restart the agent; if it does not help, somebody may have switched the sensor off",
        };
      }
      const why =
        lastMs === undefined
          ? "nothing has come back yet"
          : `what the agent itself did was seen ${Math.round((Date.now() - lastMs) / 1000)} s ago`;
      return { name: "canary", level: "live", why };
    },
    seenMs: () => lastMs,
    [Symbol.dispose]() {
      clearInterval(timers[0]);
      clearTimeout(timers[1]);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

const lost: Record<Collector, string> = {
  exec: "a program that the agent started was not seen",
  file: "a file that the agent had made was not seen",
  net: "a connection that the agent tried was not seen",
};

/** In memory where there is such a place, so that no flash card wears. */
function makeFolder(): string {
  for (const parent of ["/run", "/dev/shm"]) {
    try {
      const dir = mkdtempSync(join(parent, CANARY_FOLDER));
      sweepFolders(parent, Date.now());
      return dir;
    } catch {}
  }
  return mkdtempSync(join(tmpdir(), CANARY_FOLDER));
}

/** Removes what agents left behind that were killed. One that lives writes in its folder once an hour at least. */
export function sweepFolders(parent: string, nowMs: number): void {
  for (const name of readdirSync(parent)) {
    if (!name.startsWith(CANARY_FOLDER)) continue;
    try {
      const path = join(parent, name);
      if (nowMs - lstatSync(path).mtimeMs > LEFT_MS) rmdirSync(path);
    } catch {
      // Somebody else's, or not empty.
    }
  }
}

function broughtBack(draft: EventDraft, { path, ip }: Cause): Collector | undefined {
  const { body } = draft;
  if (draft.type === "process.exec" && "process" in body) return body.process?.argv.includes(path) ? "exec" : undefined;
  if ("file" in body) return body.file.path === path ? "file" : undefined;
  if (draft.type === "net.connect") return draft.body.net.dstIp === ip ? "net" : undefined;
  return undefined;
}

function perform({ path, ip }: Cause): void {
  const child = Bun.spawn(["/bin/sh", "-c", ': > "$0"', path], { stdin: "ignore", stdout: "ignore", stderr: "ignore", env: {} });
  child.unref();
  child.exited.then(() => {
    try {
      unlinkSync(path);
    } catch {}
  });
  const socket = createSocket("udp4");
  socket.on("error", () => socket.close());
  socket.connect(CANARY_PORT, ip, () => socket.close());
}
