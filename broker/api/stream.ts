// The live stream: server-sent events (WHATWG HTML, section 9.2). Reads and renders a change once, whoever listens.
import type { ServerResponse } from "node:http";
import type { StreamItem } from "@picket/protocol/rest";
import type { Change } from "../changes.ts";
import type { ApiDeps } from "./deps.ts";

export type StreamLimits = {
  /** Time between `site` items: the sign of life. */
  readonly heartbeatMs: number;
  /** Changes of the same thing within this time are told once. */
  readonly mergeMs: number;
  /** Bytes that may wait for a slow reader. Beyond, it is cut: it can come back and ask for the present state. */
  readonly behindBytes: number;
  /** Heartbeats in a row after which a reader that took nothing is cut. */
  readonly stuckBeats: number;
  readonly clients: number;
};

export const STREAM_LIMITS: StreamLimits = { heartbeatMs: 5_000, mergeMs: 50, behindBytes: 1 << 20, stuckBeats: 6, clients: 64 };

type Client = { readonly response: ServerResponse; readonly credential: number; stuck: number };
type StreamDeps = Pick<ApiDeps, "alerts" | "incidents" | "devices" | "commands" | "siteStatus" | "changes" | "credentials" | "report">;

export class Streams implements Disposable {
  readonly #deps: StreamDeps;
  readonly #limits: StreamLimits;
  readonly #clients = new Set<Client>();
  readonly #changed = new Map<string, Change>();
  readonly #listening: Disposable;
  #heartbeat: ReturnType<typeof setInterval> | undefined;
  #merging: ReturnType<typeof setTimeout> | undefined;

  constructor(deps: StreamDeps, limits: StreamLimits) {
    this.#deps = deps;
    this.#limits = limits;
    this.#listening = deps.changes.listen((change) => this.#note(change));
  }

  get isFull(): boolean {
    return this.#clients.size >= this.#limits.clients;
  }

  /** Takes over a response and keeps it until either side ends it. */
  add(response: ServerResponse, credential: number, headers: Record<string, string>): void {
    const client: Client = { response, credential, stuck: 0 };
    response.on("close", () => this.#forget(client));
    response.on("error", () => this.#forget(client));
    response.writeHead(200, { ...headers, "content-type": "text/event-stream; charset=utf-8" });
    this.#clients.add(client);
    this.#heartbeat ??= setInterval(() => this.#beat(), this.#limits.heartbeatMs);
    this.#write(client, render({ kind: "site", site: this.#deps.siteStatus() }));
  }

  #note(change: Change): void {
    if (this.#clients.size === 0) return;
    this.#changed.set(keyOf(change), change);
    this.#merging ??= setTimeout(() => this.#tell(), this.#limits.mergeMs);
  }

  #tell(): void {
    this.#merging = undefined;
    for (const change of [...this.#changed.values()]) this.#noteIncident(change);
    const changes = [...this.#changed.values()];
    this.#changed.clear();
    for (const change of changes) this.#broadcast(() => this.#itemOf(change));
  }

  /** What changes an alert changes its incident. */
  #noteIncident(change: Change): void {
    const incident = change.kind === "alert" ? this.#deps.incidents.ofAlert(change.id) : undefined;
    if (incident !== undefined) this.#changed.set(`incident ${incident}`, { kind: "incident", id: incident });
  }

  #beat(): void {
    for (const client of this.#clients) {
      client.stuck = client.response.writableLength > 0 ? client.stuck + 1 : 0;
      if (client.stuck >= this.#limits.stuckBeats) this.#cut(client);
    }
    this.#broadcast(() => ({ kind: "site", site: this.#deps.siteStatus() }));
  }

  #broadcast(read: () => StreamItem | undefined): void {
    if (this.#clients.size === 0) return;
    try {
      const item = read();
      if (!item) return;
      const text = render(item);
      for (const client of this.#clients) this.#write(client, text);
    } catch (error) {
      this.#deps.report(error);
    }
  }

  #itemOf(change: Change): StreamItem | undefined {
    switch (change.kind) {
      case "alert": {
        const alert = this.#deps.alerts.get(change.id);
        return alert && { kind: "alert", alert };
      }
      case "incident": {
        const incident = this.#deps.incidents.get(change.id);
        return incident && { kind: "incident", incident };
      }
      case "device": {
        const device = this.#deps.devices.get(change.device);
        return device && { kind: "device", device };
      }
      case "command": {
        const command = this.#deps.commands.get(change.jti);
        return command && { kind: "command", command };
      }
      case "site":
        return { kind: "site", site: this.#deps.siteStatus() };
    }
  }

  /** A revoked credential gets nothing more, however long ago the stream began. */
  #write(client: Client, text: string): void {
    const { response } = client;
    const isBehind = response.writableLength > this.#limits.behindBytes;
    if (isBehind || !this.#deps.credentials.isValid(client.credential)) this.#cut(client);
    else response.write(text);
  }

  #cut(client: Client): void {
    this.#forget(client);
    client.response.destroy();
  }

  #forget(client: Client): void {
    this.#clients.delete(client);
    if (this.#clients.size > 0) return;
    clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
    clearTimeout(this.#merging);
    for (const client of this.#clients) this.#cut(client);
  }
}

// JSON holds no raw line break, so a text from a device cannot end the `data` line and forge another item.
const render = (item: StreamItem) => `event: ${item.kind}\ndata: ${JSON.stringify(item)}\n\n`;

function keyOf(change: Change): string {
  switch (change.kind) {
    case "alert":
      return `alert ${change.id}`;
    case "incident":
      return `incident ${change.id}`;
    case "device":
      return `device ${change.device}`;
    case "command":
      return `command ${change.jti}`;
    case "site":
      return "site";
  }
}
