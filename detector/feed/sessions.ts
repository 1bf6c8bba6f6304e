// The sessions of one connection: that of the main cursor, and one for each lane the broker names.
import { decodeData, MAX_LANES } from "@picket/protocol/feed";
import { threadClocks } from "./meter.ts";
import type { SessionPorts } from "./ports.ts";
import { FeedSession } from "./session.ts";
import { Turns } from "./turns.ts";

export type SessionsPorts = Pick<SessionPorts, "want" | "commit" | "stored" | "carried" | "cut" | "log" | "iocs"> & {
  /** What one session has for itself: nothing of it is shared with another. */
  readonly createParts: (decided: () => void) => Pick<SessionPorts, "pipeline" | "judge" | "files">;
};

export class FeedSessions {
  readonly #ports: SessionsPorts;
  readonly #main: FeedSession;
  /** By the lane's id. */
  readonly #lanes = new Map<number, FeedSession>();
  /** By the session's id. */
  readonly #byId = new Map<string, FeedSession>();
  readonly #turns: Turns;
  #named = 0;

  constructor(ports: SessionsPorts) {
    this.#ports = ports;
    this.#turns = new Turns(
      () => performance.now(),
      () => this.#main.busy,
    );
    this.#main = this.#create(0);
  }

  get main(): FeedSession {
    return this.#main;
  }

  hello(): void {
    this.#main.hello();
  }

  /** Takes a `feed/data` payload to the session it is for. Throws when it is none. */
  receive(payload: Uint8Array): void {
    const id = sessionOf(payload);
    const known = id === undefined ? undefined : this.#byId.get(id);
    if (known && isOfLists(payload)) {
      const data = decodeData(payload);
      if ("ioc" in data) this.#ports.iocs?.receive(data.ioc, data.bytes);
      return;
    }
    if (known && !isLanes(payload)) {
      known.receive(payload);
      return;
    }
    const data = decodeData(payload);
    if ("lanes" in data) {
      if (known === this.#main) this.#follow(data.lanes.lanes);
      return;
    }
    // What is of no session we have is of one that is over.
    if (!("state" in data)) return;
    const session = data.state.lane ? this.#lanes.get(data.state.lane) : this.#main;
    if (!session) return;
    this.#byId.set(data.state.session, session);
    session.receive(payload);
  }

  /** All go on: what they waited for is there. */
  resume(): void {
    this.#main.decided();
    for (const lane of this.#lanes.values()) lane.decided();
  }

  #follow(lanes: readonly number[]): void {
    this.#named = lanes.length;
    for (const [lane, session] of this.#lanes) {
      if (lanes.includes(lane)) continue;
      session.end();
      this.#lanes.delete(lane);
      for (const [id, of] of this.#byId) if (of === session) this.#byId.delete(id);
      this.#ports.log("info", "a lane is caught up", { lane });
    }
    for (const lane of lanes) {
      if (this.#lanes.has(lane)) continue;
      const session = this.#create(lane);
      this.#lanes.set(lane, session);
      this.#ports.log("info", "reading on the side what is behind", { lane });
      session.hello();
    }
  }

  #create(lane: number): FeedSession {
    const parts = this.#ports.createParts(() => session.decided());
    const session: FeedSession = new FeedSession({
      ...this.#ports,
      ...parts,
      lane,
      clocks: threadClocks,
      turnMs: () => this.#turns.turnMs(lane),
      later: (work) => this.#turns.later(lane, work),
      // A lane is nobody's neighbour but its own.
      spent: (of) => lane === 0 && this.#turns.isUnfair(of) && this.#hasRoom(),
    });
    return session;
  }

  #hasRoom(): boolean {
    if (this.#named >= MAX_LANES) return false;
    this.#named++;
    return true;
  }
}

const HEAD = 96;
const decoder = new TextDecoder("latin1");

/** The session a payload is for, from its first bytes: they say kind and session first. */
const sessionOf = (payload: Uint8Array): string | undefined =>
  /^\{"kind":"[a-z-]+","session":"([^"]{1,36})"/.exec(decoder.decode(payload.subarray(0, HEAD)))?.[1];

const isOfLists = (payload: Uint8Array): boolean => /^\{"kind":"(?:iocs?|past(?:-page)?)"/.test(decoder.decode(payload.subarray(0, 22)));

const isLanes = (payload: Uint8Array): boolean => decoder.decode(payload.subarray(0, 16)).startsWith('{"kind":"lanes"');
