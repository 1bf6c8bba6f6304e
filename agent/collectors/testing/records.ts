// Kernel records for tests, written field by field at the generated offsets.
import type { EventDraft } from "@picket/protocol/event";
import { record as head } from "../../bpf/layout.gen.ts";
import type { Head, Processes } from "../../processes.ts";
import type { Context } from "../collector.ts";

export type Fields = {
  readonly pid?: number;
  readonly tid?: number;
  readonly uid?: number;
  readonly comm?: string;
  readonly bootNs?: bigint;
};

/** A record of `size` bytes with its head filled in; `fill` writes the rest. */
export function recordOf(size: number, of: Fields, fill: (view: DataView, bytes: Uint8Array) => void = () => {}): DataView {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(head.bootNs, of.bootNs ?? 0n, true);
  view.setUint32(head.pid, of.pid ?? 1, true);
  view.setUint32(head.tid, of.tid ?? of.pid ?? 1, true);
  view.setUint32(head.uid, of.uid ?? 0, true);
  bytes.set(Buffer.from(of.comm ?? "").subarray(0, head.commSize), head.comm);
  fill(view, bytes);
  return view;
}

/** A context whose processes answer with what they were asked, and whose boot was at 1,000 ms. */
export function contextOf(processes: Partial<Processes>): Context & { readonly drafts: EventDraft[] } {
  const drafts: EventDraft[] = [];
  const plain: Partial<Processes> = {
    describe: ({ pid, uid }: Head) => ({ pid, startTicks: 0, ppid: 0, uid, exe: "/bin/x", argv: [] }),
    resolve: (_head, _dirFd, path) => (path.startsWith("/") ? path : undefined),
    visible: (_head, path) => path,
    ...processes,
  };
  return {
    drafts,
    emit: (draft) => void drafts.push(draft),
    wallTime: (ns) => 1_000 + Number(ns / 1_000_000n),
    processes: plain as Processes,
  };
}
