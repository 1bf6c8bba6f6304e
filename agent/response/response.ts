// What agent/main.ts wires: the shape of the response part. `createResponse` in index.ts makes one.
import type { Action, Anchor, CommandResult, KeyList, Pack } from "@picket/protocol/command";
import type { EventDraft } from "@picket/protocol/event";
import type { Capability, IsolationState } from "@picket/protocol/status";
import type { Nft } from "node-nftables";

export type Broker = {
  /** Names or address literals, as the device connects to them (an IPv6 address without brackets), best first. */
  readonly hosts: readonly string[];
  readonly mqttPort: number;
  readonly httpsPort: number;
};

/** A result before it is one. */
export type Answer = Pick<CommandResult, "ok" | "act" | "code" | "message"> & { readonly jti?: string };

export type Scanned = Pick<CommandResult, "ok" | "message" | "sample">;

/** The part that takes signed packs, once the key list that came before them is known. Undefined: nothing new. Must not reject. */
export type PackTaker = {
  take(jws: string, known: { readonly keys: KeyList | undefined; readonly nowMs: number }): Promise<Answer | undefined>;
};

export type ResponseOptions = {
  /** Holds response.json and its copy; made when absent. */
  readonly stateDir: string;
  readonly site: string;
  readonly device: string;
  /** The operators' root and recovery keys, pinned at enrolment. */
  readonly anchor: Anchor;
  readonly broker: Broker;
  /** The key list that came with enrolment, JWS. */
  readonly keys?: string | undefined;
  /** Absent: packs are refused. */
  readonly packs?: PackTaker | undefined;
  /** Reads the memory of a process for the site. Absent: the order is answered with why not. */
  readonly scan?: ((args: Extract<Action, { act: "scan" }>["args"]) => Promise<Scanned>) | undefined;
  /** Default: nft of this machine, in the network namespace of this process. */
  readonly nft?: Nft;
  /** Wall clock, milliseconds. */
  readonly now: () => number;
  /** Boot-time clock, milliseconds: counts sleep, never jumps (time.ts, `bootTimeMs`). */
  readonly uptimeMs: () => number;
  /** Default: /proc/sys/kernel/random/boot_id. */
  readonly bootId?: string;
  /** One `response.result` for every result, refusals included (those are limited in rate, and counted). Must not throw. */
  readonly emit: (draft: EventDraft<"response.result">) => void;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
  /** Addresses of a host name. Default: the system's resolver. */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
  /** Whether the broker answers at this address. Default: a TCP connection can be opened. */
  readonly reach?: (address: string, port: number) => Promise<boolean>;
  /** Ends TCP connections to anywhere but these addresses. Default: ss -K, where there is one. */
  readonly endConnections?: (keep: readonly string[]) => Promise<number | undefined>;
  /** How often timers are looked at, milliseconds. Default 5,000. */
  readonly tickMs?: number;
};

export type Response = AsyncDisposable & {
  /** Verifies and obeys, one command at a time, in order. Never rejects: what went wrong is in the result. */
  onCommand(jws: string): Promise<void>;
  onPack(pack: Pack): Promise<void>;
  /** Tells the site what became of a pack that was taken before this start. */
  tell(answer: Answer): void;
  /** The uplink's word on whether the broker is connected. The dead-man timer runs only while it is not. */
  setReachable(reachable: boolean): void;
  isolation(): IsolationState;
  /** While isolated: the addresses the uplink must use for the broker's name, since DNS is cut. Empty otherwise. */
  brokerAddresses(): readonly string[];
  /** Version of the key list obeyed; 0 before there is one. */
  keysVersion(): number;
  /** For the heartbeat and `picket-agent check`. */
  capability(): Capability;
  /** Results nobody has acknowledged yet, oldest first. They survive a restart. */
  pendingResults(): readonly CommandResult[];
  /** The broker has this one: forget it. */
  resultDelivered(result: CommandResult): void;
  /** Called with every new result, and again with a known one when its command is delivered again. Returns how to stop. */
  onResult(callback: (result: CommandResult) => void): () => void;
};
