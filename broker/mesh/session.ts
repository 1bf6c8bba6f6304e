// What two sites say over one connection, the same in both directions whoever dialled: hello, items as far as they are granted, acknowledgements.
// At least once on the wire; what was taken already is known by its name and dropped.

import { MeshMessage, type SentItem } from "@picket/protocol/mesh";
import { FILL_BYTES, MAX_ITEMS, WINDOW } from "@picket/protocol/mesh-limits";
import { tryParse } from "@picket/protocol/try-parse";
import type { Allowance } from "./allowance.ts";

/** A message of the peer that breaks the protocol. Its connection is cut. */
export class Violation extends Error {
  override name = "Violation";
}

export type SessionPorts = {
  /** Resolves when the socket took it (true) or is gone (false). */
  readonly send: (payload: string) => Promise<boolean>;
  readonly close: (why: string) => void;
  readonly nowMs: () => number;
  readonly report: (error: unknown) => void;
  /** Items of ours after `pos`. */
  readonly itemsAfter: (pos: number, limit: number) => { items: { pos: number; hops: readonly string[]; jws: string }[]; upTo: number };
  /** Our log's name, how far the peer stored it as far as we know, and how far we stored the peer's. */
  readonly state: () => { log: string; sentPos: number; received: { log: string; pos: number } | undefined };
  /** On disk when it resolves: the peer has stored ours up to `pos`. */
  readonly acknowledged: (pos: number, items: number) => Promise<void>;
  /** On disk when it resolves: every item is taken or refused. */
  readonly take: (items: readonly SentItem[], of: { log: string; pos: number }) => Promise<void>;
  readonly left: () => void;
  /** Undefined while nothing is taken from the peer. */
  readonly allowance: Allowance | undefined;
};

/** What we said and the peer's connection has not taken yet. An honest one is never so far behind. */
const MAX_SAYING = 512;
/** When the allowance was used up, look again after this. */
const REFILL_MS = 500;

export class Session implements Disposable {
  readonly #ports: SessionPorts;
  #over = false;
  /** One message after the other: aedes hands out what came in one read at once. */
  #queue: Promise<void> = Promise.resolve();
  #theirLog: string | undefined;
  #lastPos = 0;
  /** Granted and not come yet. */
  #expected = 0;
  #refill: ReturnType<typeof setTimeout> | undefined;
  #pos = 0;
  #credits = 0;
  #pumping = false;
  #flying: number[] = [];
  #saying = 0;

  constructor(ports: SessionPorts) {
    this.#ports = ports;
  }

  /** Says hello. */
  begin(): void {
    const { log, received } = this.#ports.state();
    this.#say({ kind: "hello", v: 1, log, ...(received ? { received } : {}), grant: this.#grant() });
    this.#plan();
  }

  /** A message of the peer; resolves when it has been dealt with. Rejects with `Violation`, after which the connection must be cut. */
  receive(payload: Uint8Array): Promise<void> {
    const done = this.#queue.then(() => this.#handle(payload));
    this.#queue = done.catch(() => {});
    return done;
  }

  /** Our log may have grown. */
  wake(): void {
    this.#pump().catch((error: unknown) => {
      this.#ports.report(error);
      this.#ports.close("the mesh log cannot be read");
    });
  }

  /** Tells the peer that this is for good. Resolves when the socket took it or is gone. */
  async bye(): Promise<void> {
    await this.#ports.send(JSON.stringify({ kind: "bye" } satisfies MeshMessage));
  }

  [Symbol.dispose](): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#refill);
    this.#ports.allowance?.giveBack(this.#expected);
  }

  async #handle(payload: Uint8Array): Promise<void> {
    if (this.#over) return;
    const message = parse(payload);
    if (message.kind !== "hello" && this.#theirLog === undefined) throw new Violation(`"${message.kind}" before "hello"`);
    switch (message.kind) {
      case "hello":
        return this.#greeted(message);
      case "items":
        return this.#received(message.items, payload.length);
      case "ack":
        return this.#acknowledged(message.pos, message.grant);
      case "bye":
        this.#ports.left();
    }
  }

  #greeted(hello: Extract<MeshMessage, { kind: "hello" }>): void {
    if (this.#theirLog !== undefined) throw new Violation('"hello" twice');
    const { log, sentPos } = this.#ports.state();
    this.#theirLog = hello.log;
    // The lower of both: the peer's database, or ours, may have come back from a backup.
    this.#pos = hello.received?.log === log ? Math.min(sentPos, hello.received.pos) : 0;
    this.#credits = hello.grant;
    this.wake();
  }

  async #received(items: readonly SentItem[], bytes: number): Promise<void> {
    if (items.length > this.#expected) throw new Violation(`${items.length} items where ${this.#expected} were granted`);
    for (const { pos } of items) {
      if (pos <= this.#lastPos) throw new Violation(`position ${pos} after ${this.#lastPos}`);
      this.#lastPos = pos;
    }
    this.#expected -= items.length;
    this.#ports.allowance?.spend(bytes);
    const pos = this.#lastPos;
    await this.#ports.take(items, { log: this.#theirLog!, pos });
    if (this.#over) return;
    this.#say({ kind: "ack", pos, grant: this.#grant() });
    this.#plan();
  }

  async #acknowledged(pos: number, grant: number): Promise<void> {
    if (pos > this.#pos) throw new Violation(`acknowledged ${pos}, but only ${this.#pos} was sent`);
    this.#credits = Math.min(WINDOW, this.#credits + grant);
    const done = this.#flying.filter((one) => one <= pos).length;
    if (done > 0) {
      this.#flying = this.#flying.slice(done);
      await this.#ports.acknowledged(pos, done);
    }
    this.wake();
  }

  #grant(): number {
    const { allowance, nowMs } = this.#ports;
    const more = allowance?.take(WINDOW - this.#expected, nowMs()) ?? 0;
    this.#expected += more;
    return more;
  }

  /** Grants more later, when there was too little to grant now. */
  #plan(): void {
    if (!this.#ports.allowance || this.#refill || this.#over || this.#expected >= WINDOW) return;
    this.#refill = setTimeout(() => {
      this.#refill = undefined;
      const grant = this.#grant();
      if (grant > 0) this.#say({ kind: "ack", pos: this.#lastPos, grant });
      this.#plan();
    }, REFILL_MS);
  }

  #say(message: MeshMessage): void {
    if (this.#over) return;
    if (++this.#saying > MAX_SAYING) {
      this.#ports.close("it takes nothing of what it is told");
      return;
    }
    this.#ports
      .send(JSON.stringify(message))
      .catch(this.#ports.report)
      .finally(() => this.#saying--);
  }

  async #pump(): Promise<void> {
    if (this.#pumping || this.#theirLog === undefined) return;
    this.#pumping = true;
    try {
      while (!this.#over && this.#credits > 0) {
        const found = this.#ports.itemsAfter(this.#pos, Math.min(this.#credits, MAX_ITEMS));
        if (found.items.length === 0) {
          // What is not for this peer need not be looked at again.
          this.#pos = Math.max(this.#pos, found.upTo);
          return;
        }
        const items = fill(found.items);
        this.#pos = items.at(-1)!.pos;
        this.#credits -= items.length;
        this.#flying.push(...items.map(({ pos }) => pos));
        const message = { kind: "items", items } satisfies { kind: "items"; items: object[] };
        if (!(await this.#ports.send(JSON.stringify(message)))) return;
      }
    } finally {
      this.#pumping = false;
    }
  }
}

/** As many as fit one message, at least one. */
function fill<T extends { jws: string }>(items: readonly T[]): T[] {
  let bytes = 0;
  return items.filter(({ jws }, index) => {
    bytes += jws.length;
    return index === 0 || bytes <= FILL_BYTES;
  });
}

function parse(payload: Uint8Array): MeshMessage {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString());
  } catch {
    throw new Violation("a message that is not JSON");
  }
  const message = tryParse(MeshMessage, json);
  if (!message.success) throw new Violation(`a message that cannot be read: ${message.error.issues[0]?.path.join(".") || "unknown kind"}`);
  return message.data;
}
