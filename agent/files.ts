// The files of this device as the site may know them: hashes of what runs and what is written, and their bytes when it asks. Wires hash/, samples/ and process-memory/.
import { join } from "node:path";
import type { EventDraft } from "@picket/protocol/event";
import type { Capability } from "@picket/protocol/status";
import type { AgentConfig } from "./config.ts";
import { hostProc } from "./enrich/proc.ts";
import { homesOfThisHost } from "./enrich/users.ts";
import { Found } from "./hash/found.ts";
import { Hashes } from "./hash/hashes.ts";
import { createPace } from "./pace.ts";
import { createMemoryScan, type MemoryPorts, type MemoryScan } from "./process-memory/scan.ts";
import { createSamples } from "./samples/samples.ts";

export type Files = Disposable & {
  /** Looks at an event on its way to the recorder, and may add a hash to it. Never throws. */
  see(draft: EventDraft): EventDraft;
  /** Takes a payload of `.../want`; undefined when nothing is ever sent. */
  readonly wanted: ((payload: Uint8Array) => boolean) | undefined;
  /** Obeys an operator's order to have the memory of a process scanned at the site. Never rejects. */
  readonly scan: MemoryScan["scan"];
  /** The connection is over. */
  disconnected(): void;
  capability(): Capability;
};

export function startFiles(of: {
  readonly config: AgentConfig;
  readonly emit: (draft: EventDraft) => void;
  readonly publish: (payload: Uint8Array) => Promise<void>;
  readonly eventsWaiting: () => number;
}): Files {
  const { config, emit } = of;
  if (!config.samples.hash) return off;
  const memory = createMemoryScan({
    dir: join(config.state, "memory"),
    ownPid: process.pid,
    describe: describeNow,
    found: ({ process, path, sha256, size }) =>
      emit({ type: "file.hash", timeMs: Date.now(), body: { process, file: { path, sha256, size } } }),
    nowMs: Date.now,
  });
  const send = config.samples.send;
  const monotonicMs = () => performance.now();
  const found = new Found(join(config.state, "hashes.ndjson"), monotonicMs);
  const hashes = new Hashes({ places: placesOf(config), found, emit, pace: createPace(config.samples.hashBytesPerS), monotonicMs });
  const samples = createSamples({
    reported: (sha256) => memory.has(sha256) || found.get(sha256) !== undefined,
    open: (sha256) => (memory.has(sha256) ? memory.open(sha256) : hashes.open(sha256)),
    publish: of.publish,
    eventsWaiting: of.eventsWaiting,
    pace: createPace(config.samples.sendBytesPerS),
  });
  return {
    see: (draft) => hashes.see(draft),
    wanted: send ? samples.wanted : undefined,
    scan: async (of) =>
      send ? memory.scan(of) : { ok: false, message: "nothing of this device may leave: samples.send is false in its own configuration" },
    disconnected: samples.forget,
    capability: () => capabilityOf(hashes.state(), send),
    [Symbol.dispose]: () => {
      samples.forget();
      hashes[Symbol.dispose]();
      void memory[Symbol.asyncDispose]();
    },
  };
}

const off: Files = {
  see: (draft) => draft,
  wanted: undefined,
  scan: async () => ({ ok: false, message: "nothing of this device is hashed or sent: samples.hash is false in its own configuration" }),
  disconnected: () => {},
  // Somebody wanted it so: nothing to warn of.
  capability: () => ({ name: "files", level: "live", why: "files are neither hashed nor sent: samples.hash is false" }),
  [Symbol.dispose]() {},
};

/** A process as /proc shows it now. */
function describeNow(pid: number): ReturnType<MemoryPorts["describe"]> {
  const stat = hostProc.stat(pid);
  if (!stat || stat.dead) return undefined;
  const exe = hostProc.link(pid, "exe")?.replace(/ \(deleted\)$/, "") ?? stat.comm;
  const argv = (hostProc.argv(pid) ?? []).slice(0, MAX_ARGV).map((text) => text.slice(0, MAX_ARG).toWellFormed());
  return {
    kernelThread: stat.kernelThread,
    process: {
      pid,
      startTicks: stat.startTicks,
      ppid: stat.ppid,
      uid: hostProc.uid(pid) ?? 0,
      exe: exe.slice(0, 4096).toWellFormed(),
      argv,
    },
  };
}

const MAX_ARGV = 64;
const MAX_ARG = 1024;

function placesOf(config: AgentConfig) {
  const expand = homesOfThisHost();
  const state = config.state.endsWith("/") ? config.state : `${config.state}/`;
  return {
    write: expand(config.watch.write),
    // What is watched for reading is secret: keys and passwords change too, and must not leave because of it.
    secret: [...expand(config.watch.read), state],
    skip: expand(config.samples.skip),
  };
}

function capabilityOf(state: ReturnType<Hashes["state"]>, send: boolean): Capability {
  const { hashed, tooLarge, dropped, droppedLately } = state;
  const large = tooLarge > 0 ? `; ${tooLarge} larger than 32 MiB left out` : "";
  const lost = dropped > 0 ? `; ${dropped} left out because too many came at once` : "";
  const why = `${hashed} files hashed${large}${lost}${send ? "" : "; none is sent: samples.send is false"}`;
  if (!droppedLately) return { name: "files", level: "live", why };
  return { name: "files", level: "degraded", why, todo: "Raise samples.hashBytesPerS, or add what is written so often to samples.skip" };
}
