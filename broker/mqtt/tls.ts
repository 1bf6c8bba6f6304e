// The TLS side of the MQTT port: client certificates, and the traps of Bun around them.
import { constants } from "node:crypto";
import type { Socket } from "node:net";
import * as tls from "node:tls";
import { clientId } from "@picket/protocol/names";
import type { CertifiedPeer, Log } from "../peer.ts";
import { Admission } from "./admission.ts";

/** From TCP accept to an accepted certificate. */
const HANDSHAKE_MS = 10_000;
/** While all places are taken, one that has taken so long already makes room: strangers who only connect must not keep devices out. */
const HURRY_MS = 1000;

export type TlsOptions = {
  /** PEM. */
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  /** CAs of peer sites, PEM. */
  readonly peerCas?: readonly string[];
  /** Reads a DER certificate and checks which of these CAs itself signed it. Rejects when it is nobody's here. */
  identify(der: Uint8Array<ArrayBuffer>): Promise<CertifiedPeer>;
  readonly nowMs: () => number;
  readonly log: Log;
};

/**
 * A TLS 1.3 server that hands over only sockets whose certificate it has read and checked itself.
 * Throws when NODE_TLS_REJECT_UNAUTHORIZED=0 is set: Bun then lets anybody in (oven-sh/bun#35092).
 */
export function createTlsServer(
  options: TlsOptions,
  env: Readonly<Record<string, string | undefined>>,
  /** Returns why this connection is not taken; the address then pays as for a failed handshake. */
  accept: (socket: tls.TLSSocket, peer: CertifiedPeer) => string | undefined,
): { readonly server: tls.Server; trust(peers: readonly string[]): void } {
  if (env.NODE_TLS_REJECT_UNAUTHORIZED === "0")
    throw new Error("NODE_TLS_REJECT_UNAUTHORIZED=0 switches the check of client certificates off: unset it and start again");
  const doors = new Doors(options);
  // What a peer's CA may be good for is decided by `identify`: here it only lets the handshake come so far.
  const context = (peers: readonly string[]): tls.TlsOptions => ({
    ca: [options.ca, ...peers],
    cert: options.certificate,
    key: options.key,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: "TLSv1.3",
    // A resumed session is reported authorized without being checked again: no tickets, and `identity` refuses what resumes anyway.
    secureOptions: constants.SSL_OP_NO_TICKET,
  });
  const server = tls.createServer(context(options.peerCas ?? []), (socket) => {
    socket.on("error", () => {});
    void identity(socket, options).then(
      (peer) => {
        const why = socket.destroyed ? undefined : accept(socket, peer);
        doors.leave(socket, why === undefined);
        if (why === undefined) return;
        options.log("warn", "connection cut", { peer: clientId(peer.role, peer.name), address: socket.remoteAddress, why });
        socket.destroy();
      },
      (error: unknown) => {
        doors.leave(socket, false);
        options.log("warn", "connection refused", { address: socket.remoteAddress, why: message(error) });
        socket.destroy();
      },
    );
  });
  server.on("connection", (socket: tls.TLSSocket) => doors.enter(socket));
  server.on("tlsClientError", (error: Error, socket: tls.TLSSocket) => {
    options.log("warn", "TLS handshake failed", { address: socket.remoteAddress, why: error.message });
    doors.leave(socket, false);
    socket.destroy();
  });
  return { server, trust: (peers) => server.setSecureContext(context(peers)) };
}

async function identity(socket: tls.TLSSocket, options: TlsOptions): Promise<CertifiedPeer> {
  if (!socket.authorized) throw new Error(`certificate not accepted: ${socket.authorizationError}`);
  if (socket.isSessionReused()) throw new Error("a resumed TLS session carries no proof of identity");
  const der = socket.getPeerCertificate(true)?.raw;
  if (!der) throw new Error("no client certificate");
  return options.identify(new Uint8Array(der));
}

/** Every socket between TCP accept and its verdict. */
export class Doors {
  readonly #admission: Admission;
  /** In the order they came. */
  readonly #waiting = new Map<Socket, { timer: ReturnType<typeof setTimeout>; address: string; sinceMs: number }>();

  readonly #monotonicMs: () => number;

  constructor(options: Pick<TlsOptions, "nowMs">, monotonicMs: () => number = () => performance.now()) {
    this.#admission = new Admission(options.nowMs);
    this.#monotonicMs = monotonicMs;
  }

  enter(socket: Socket): void {
    const address = socket.remoteAddress ?? "";
    socket.on("error", () => {});
    if (this.#admission.isFull) this.#makeRoom();
    if (!this.#admission.begin(address)) {
      socket.destroy();
      return;
    }
    const timer = setTimeout(() => socket.destroy(), HANDSHAKE_MS);
    this.#waiting.set(socket, { timer, address, sinceMs: this.#monotonicMs() });
    socket.once("close", () => this.leave(socket, false));
  }

  #makeRoom(): void {
    const [slowest] = this.#waiting;
    if (!slowest || this.#monotonicMs() - slowest[1].sinceMs < HURRY_MS) return;
    this.leave(slowest[0], false);
    slowest[0].destroy();
  }

  leave(socket: Socket, accepted: boolean): void {
    const entry = this.#waiting.get(socket);
    if (!entry) return;
    this.#waiting.delete(socket);
    clearTimeout(entry.timer);
    this.#admission.settle(entry.address, accepted);
  }
}

const message = (error: unknown) => (error instanceof Error ? error.message : String(error));
