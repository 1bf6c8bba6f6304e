// What one session of the feed needs from outside, and how it says that it stands.
import type { Want } from "@picket/protocol/feed";
import type { Files } from "../files.ts";
import type { EventBatch, Findings } from "../finding.ts";
import type { IocLink } from "../iocs.ts";
import type { Pipeline } from "../pipeline.ts";
import type { MeterClocks } from "./meter.ts";

export type SessionPorts = {
  /** 0 is the main cursor. */
  readonly lane: number;
  readonly pipeline: Pipeline;
  /** What engines that take their time say of a batch; undefined when nothing. Never rejects. */
  readonly files: Files;
  /** Lists of indicators, of all sessions of a connection; absent where there are none. */
  readonly iocs?: IocLink | undefined;
  readonly judge: (batch: EventBatch) => Promise<Findings> | undefined;
  readonly want: (want: Want) => void;
  /** Resolves when the broker has it on disk. */
  readonly commit: (payload: string) => Promise<void>;
  /** How long judging may go on now before the connection has its turn again, milliseconds; 0: not now. */
  readonly turnMs: () => number;
  /** Goes on after the connection had its turn. */
  readonly later: (work: () => void) => void;
  /** By which work is measured. */
  readonly clocks: MeterClocks;
  /** What judging events of a device took, as `Meter.lap` says. True when the device holds up others: it is read in a lane of its own from then on. */
  readonly spent: (of: { device: string; ms: number; events: number }) => boolean;
  /** The broker has stored these decisions. */
  readonly stored?: (of: { events: number; refused: number; alerts: number }) => void;
  /** A pack of rules that devices have. */
  readonly carried?: (payload: unknown) => void;
  /** Ends the connection: what the broker sends cannot be followed. */
  readonly cut: (error: unknown) => void;
  /** A line for the log: what is odd, and when the detector has caught up. */
  readonly log: (level: "info" | "warn" | "error", message: string, details?: Record<string, unknown>) => void;
};

/** How a session stands with what it was sent. */
export type Progress = {
  /** Batches that wait to be judged. */
  readonly batches: number;
  /** When the one that is judged, or was last, was received by the broker; undefined when none waits or it was decided before. */
  readonly oldestMs: number | undefined;
  /** For how long nothing was decided or stored though something waits. */
  readonly stalledMs: number;
};
