import { forkRecord as at } from "../bpf/layout.gen.ts";
import type { Handler } from "./collector.ts";
import { decodeHead } from "./record.ts";

const CLONE_PARENT = 0x8000;

/** New processes make no event; they are the tree that explains the others. Kernel side: bpf/tree.bpf.h. */
export const onFork: Handler = (record, { processes }) => {
  const sibling = (record.getUint32(at.cloneFlags, true) & CLONE_PARENT) !== 0;
  processes.forked(decodeHead(record), record.getUint32(at.child, true), sibling);
};
