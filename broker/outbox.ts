// What the broker carries to devices: the operators' key list, the site's time, signed packs and signed commands. Of these it makes only the time.

import { CommandResult } from "@picket/protocol/command";
import { type PackRecord, WHOLE_SITE } from "@picket/protocol/pack";
import type { CommandRecord } from "@picket/protocol/rest";
import type { TopicName } from "@picket/protocol/topics";
import { tryParse } from "@picket/protocol/try-parse";
import type { Changes } from "./changes.ts";
import type { Link, Log } from "./peer.ts";
import type { Commands } from "./store/commands.ts";
import type { Store } from "./store/database.ts";
import type { Keys } from "./store/keys.ts";
import type { Packs } from "./store/packs.ts";

export type OutboxPorts = {
  readonly store: Store;
  readonly commands: Commands;
  readonly keys: Keys;
  readonly packs: Packs;
  readonly changes: Changes;
  readonly nowMs: () => number;
  readonly log: Log;
};

type Reader = { readonly topics: Set<TopicName>; queue: Promise<void> };

export class Outbox {
  readonly #ports: OutboxPorts;
  readonly #readers = new Map<Link, Reader>();

  constructor(ports: OutboxPorts) {
    this.#ports = ports;
  }

  /** A device listens now. When it hears both topics it is told everything: keys first, or it could not check the commands. */
  subscribed(link: Link, name: TopicName): void {
    if (name !== "cmd" && name !== "pack") return;
    const reader = this.#readers.get(link) ?? { topics: new Set<TopicName>(), queue: Promise.resolve() };
    this.#readers.set(link, reader);
    if (reader.topics.has(name)) return;
    reader.topics.add(name);
    if (reader.topics.size === 2) this.#then(link, () => this.#greet(link));
  }

  closed(link: Link): void {
    this.#readers.delete(link);
  }

  /** A new command is stored: it goes out at once when its device listens, otherwise at its next connect. */
  submitted(command: CommandRecord): void {
    this.#tell(command);
    for (const link of this.#listening(command.device)) this.#then(link, () => this.#sendCommands(link, command.jti));
  }

  /** A new key list is stored. */
  keysChanged(): void {
    for (const link of this.#listening()) this.#then(link, () => this.#sendKeys(link));
  }

  /** A new pack is stored. */
  packChanged({ dev, jws }: PackRecord): void {
    for (const link of this.#listening(dev === WHOLE_SITE ? undefined : dev)) this.#then(link, () => this.#sendPack(link, jws));
  }

  /** A payload of `.../result`, on disk when it resolves. Returns why it cannot be read, or undefined. */
  async result(device: string, payload: Uint8Array): Promise<string | undefined> {
    const result = readResult(payload);
    if (typeof result === "string") return result;
    const command = await this.#ports.store.commitSoon(() => this.#ports.commands.answer(device, result));
    if (command) this.#tell(command);
    else if (result.jti === undefined) {
      const { ok, act, code, message } = result;
      this.#ports.log(ok ? "info" : "warn", "a device said what became of something without a number", { device, act, code, why: message });
    } else this.#ports.log("warn", "a device answered a command it was never sent", { device, jti: result.jti, code: result.code });
    return undefined;
  }

  /** Ends commands no device may obey any more. */
  async expire(): Promise<void> {
    const { store, commands, nowMs } = this.#ports;
    for (const command of await store.commitSoon(() => commands.expire(nowMs()))) this.#tell(command);
  }

  async #greet(link: Link): Promise<void> {
    await this.#sendKeys(link);
    await link.send("pack", JSON.stringify({ kind: "time", timeMs: this.#ports.nowMs() }));
    for (const { jws } of this.#ports.packs.forDevice(link.peer.name)) await this.#sendPack(link, jws);
    await this.#sendCommands(link);
  }

  async #sendPack(link: Link, jws: string): Promise<void> {
    await link.send("pack", JSON.stringify({ kind: "signed", jws }));
  }

  async #sendKeys(link: Link): Promise<void> {
    const keys = this.#ports.keys.current();
    if (keys) await link.send("pack", JSON.stringify({ kind: "keys", jws: keys.jws }));
  }

  /** Every open command, in order; or just one. What was sent in an earlier connection goes again: the device refuses repetitions itself. */
  async #sendCommands(link: Link, only?: string): Promise<void> {
    const { commands, store, nowMs } = this.#ports;
    for (const { jti, jws } of commands.open(link.peer.name, nowMs())) {
      if (only !== undefined && jti !== only) continue;
      if (!(await link.send("cmd", jws))) return;
      const command = await store.commitSoon(() => commands.markSent(jti));
      if (command) this.#tell(command);
    }
  }

  #tell(command: CommandRecord): void {
    this.#ports.changes.tell({ kind: "command", jti: command.jti, device: command.device });
    this.#ports.changes.tell({ kind: "device", device: command.device });
  }

  #listening(device?: string): Link[] {
    return [...this.#readers].flatMap(([link, reader]) =>
      reader.topics.size === 2 && (device === undefined || link.peer.name === device) ? [link] : [],
    );
  }

  /** One thing after the other for each connection: commands must not overtake the keys they are signed with. */
  #then(link: Link, work: () => Promise<void>): void {
    const reader = this.#readers.get(link);
    if (!reader) return;
    reader.queue = reader.queue.then(work).catch((error: unknown) => {
      this.#ports.log("error", "could not send to a device", { device: link.peer.name, why: String(error) });
    });
  }
}

function readResult(payload: Uint8Array): CommandResult | string {
  try {
    const parsed = tryParse(CommandResult, JSON.parse(Buffer.from(payload).toString()));
    return parsed.success ? parsed.data : `a result that cannot be read: ${parsed.error.issues[0]?.path.join(".")}`;
  } catch {
    return "a result that is not JSON";
  }
}
