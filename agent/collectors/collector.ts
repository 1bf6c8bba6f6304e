import type { EventDraft } from "@picket/protocol/event";
import type { WallTime } from "../clock.ts";
import type { Processes } from "../processes.ts";

export type Emit = (draft: EventDraft) => void;

/** What a collector works with while it handles one record. */
export type Context = {
  readonly processes: Processes;
  readonly wallTime: WallTime;
  readonly emit: Emit;
};

/**
 * Takes one kind of kernel record, which is only valid until it returns. It sees neither the buffer nor the network, never blocks
 * and never throws: it turns the record into drafts and calls `emit`.
 */
export type Handler = (record: DataView, context: Context) => void;
