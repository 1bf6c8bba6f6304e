// The picture that explains an alert: from the oldest known ancestor to the processes that made it.

import type { TreeNode } from "@picket/protocol/alert";
import type { Process } from "@picket/protocol/event";
import { clean } from "../text.ts";
import { isLive, lineage, type ProcessNode, parentOf } from "./node.ts";

/** Processes in one picture. */
const MAX_NODES = 24;
const MAX_EXE = 512;
/** Argument text kept for one process, over all arguments. */
const MAX_ARGV = 600;
const MAX_MATCHED = 16;

/**
 * The tree of `focus` with its ancestors, and below it the branches that lead to `others`. Root first, each child after its parent.
 * Text stays as the device sent it, but bounded: whoever shows it must clean it.
 */
export function treeOf(focus: ProcessNode, others: readonly ProcessNode[], nowMs: number): TreeNode[] {
  const above = lineage(focus, nowMs).reverse();
  const children = new Map<ProcessNode, Set<ProcessNode>>();
  let found = above.length;
  for (const other of others) {
    const path = lineage(other, nowMs);
    const end = path.indexOf(focus);
    for (let at = end - 1; at >= 0 && found < MAX_NODES; at--) {
      const below = children.get(path[at + 1]!) ?? new Set();
      if (!below.has(path[at]!)) found++;
      children.set(path[at + 1]!, below.add(path[at]!));
    }
  }
  const nodes: TreeNode[] = above.map((node, depth) => draw(node, depth, nowMs));
  const visit = (node: ProcessNode, depth: number): void => {
    for (const child of children.get(node) ?? []) {
      if (nodes.length >= MAX_NODES) return;
      nodes.push(draw(child, depth, nowMs));
      visit(child, depth + 1);
    }
  };
  visit(focus, above.length);
  return nodes;
}

function draw(node: ProcessNode, depth: number, nowMs: number): TreeNode {
  const titles = new Set(node.hits.filter((hit) => isLive(hit, nowMs)).map((hit) => clean(hit.rule.title, 256)));
  return {
    depth,
    pid: node.pid,
    exe: node.exe.slice(0, MAX_EXE).toWellFormed(),
    argv: boundedArgv(node.argv, MAX_ARGV),
    matched: [...titles].slice(0, MAX_MATCHED),
  };
}

/** As many arguments as fit into `max` UTF-16 units, the last one cut. */
export function boundedArgv(argv: readonly string[], max: number): string[] {
  const kept: string[] = [];
  let left = max;
  for (const arg of argv) {
    if (left <= 0) break;
    kept.push(arg.slice(0, left).toWellFormed());
    left -= arg.length + 1;
  }
  return kept;
}

/** The process as an alert carries it: what the tree already tells of its ancestors is left out, long arguments are cut. */
export function processOfAlert(process: Process, max = 2000): Process {
  const { ancestors: _, parent, ...own } = process;
  const argv = boundedArgv(process.argv, max);
  const cut = argv.length < process.argv.length || argv.at(-1) !== process.argv.at(-1);
  return {
    ...own,
    argv,
    ...(cut ? { argvTruncated: true } : {}),
    ...(parent ? { parent: { ...parent, ...(parent.argv ? { argv: boundedArgv(parent.argv, MAX_ARGV) } : {}) } } : {}),
  };
}

/** The program that started this process, as far as anybody said. */
export const parentExe = (process: Process, node: ProcessNode | undefined, nowMs: number): string | undefined =>
  process.parent?.exe ?? (node ? parentOf(node, nowMs)?.exe : undefined);
