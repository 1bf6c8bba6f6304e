// What the status page knows of its agent. run.ts fills it.
import type { OnlineStatus } from "@picket/protocol/status";

export type AgentFacts = {
  readonly nowMs: number;
  readonly startedMs: number;
  /** What a heartbeat says. */
  readonly status: OnlineStatus;
  readonly connection: { readonly connected: boolean; readonly why: string | undefined };
  /** When something the agent did itself was last seen by its own sensor. */
  readonly canaryMs: number | undefined;
  /** Since the site last acknowledged events; infinite when it never did. Milliseconds. */
  readonly answeredAgoMs: number;
  /** Longest time between two events that every agent makes, seconds. */
  readonly everyS: number;
  readonly certificateExpiresMs: number;
  readonly byType: ReadonlyMap<string, number>;
  /** By what the events were worth. */
  readonly bufferLost: { readonly plain: number; readonly hit: number; readonly result: number };
};
