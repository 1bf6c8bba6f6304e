// The files of this device as the site may know them: hashes of what runs and what is written, and their bytes when it asks. Wires hash/ and samples/.
import { join } from "node:path";
import type { EventDraft } from "@picket/protocol/event";
import type { Capability } from "@picket/protocol/status";
import type { AgentConfig } from "./config.ts";
import { homesOfThisHost } from "./enrich/users.ts";
import { Found } from "./hash/found.ts";
import { Hashes } from "./hash/hashes.ts";
import { createPace } from "./pace.ts";
import { createSamples } from "./samples/samples.ts";

export type Files = Disposable & {
  /** Looks at an event on its way to the recorder, and may add a hash to it. Never throws. */
  see(draft: EventDraft): EventDraft;
  /** Takes a payload of `.../want`; undefined when nothing is ever sent. */
  readonly wanted: ((payload: Uint8Array) => boolean) | undefined;
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
  const send = config.samples.send;
  const monotonicMs = () => performance.now();
  const found = new Found(join(config.state, "hashes.ndjson"), monotonicMs);
  const hashes = new Hashes({ places: placesOf(config), found, emit, pace: createPace(config.samples.hashBytesPerS), monotonicMs });
  const samples = createSamples({
    reported: (sha256) => found.get(sha256) !== undefined,
    open: (sha256) => hashes.open(sha256),
    publish: of.publish,
    eventsWaiting: of.eventsWaiting,
    pace: createPace(config.samples.sendBytesPerS),
  });
  return {
    see: (draft) => hashes.see(draft),
    wanted: send ? samples.wanted : undefined,
    disconnected: samples.forget,
    capability: () => capabilityOf(hashes.state(), send),
    [Symbol.dispose]: () => {
      samples.forget();
      hashes[Symbol.dispose]();
    },
  };
}

const off: Files = {
  see: (draft) => draft,
  wanted: undefined,
  disconnected: () => {},
  // Somebody wanted it so: nothing to warn of.
  capability: () => ({ name: "files", level: "live", why: "files are neither hashed nor sent: samples.hash is false" }),
  [Symbol.dispose]() {},
};

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
