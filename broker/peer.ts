// Who is connected, as a certificate of the site CA says it; or, for a peer site, of that site's own CA.
import type { Role } from "@picket/protocol/names";
import type { TopicName } from "@picket/protocol/topics";

export type CertifiedPeer = {
  readonly role: Role;
  readonly name: string;
  /** Lower-case hex, as issued. */
  readonly serial: string;
  readonly notAfterMs: number;
  /** Hash of the issuing CA's key where that is the CA of a peer site; the role is then always "site". Absent: this site's CA. */
  readonly peerCa?: string;
};

/** One accepted MQTT connection. */
export type Link = {
  readonly peer: CertifiedPeer;
  /** Address of the other end, for alerts and logs. */
  readonly address: string;
  readonly sinceMs: number;
  /** True once a newer connection of the same peer took over: what this one still says (its Last Will) is history. */
  readonly superseded: boolean;
  /**
   * How it ended, once it did: the other host closed it (its kernel does for a program that is killed), or nothing was heard within the
   * keep-alive. Undefined while it lives and when this side closed it.
   */
  readonly ended?: "killed" | "lost" | undefined;
  /** Publishes to this connection alone, at QoS 1. Resolves when the socket took it (true) or the connection is gone (false). */
  send(name: TopicName, payload: Uint8Array | string): Promise<boolean>;
  /** Cuts the connection. */
  close(why: string): void;
};

/** Structured log line: constant words, details apart. */
export type Log = (level: "info" | "warn" | "error", message: string, details?: Readonly<Record<string, unknown>>) => void;
