// The processes of an incident as the tree that a console draws.
import type { TreeNode } from "@picket/protocol/alert";
import type { StoryProcess } from "@picket/protocol/incident";
import type { Incident } from "./incident.ts";

/** Root first, each child after its parent, in the order of time. */
export function pictureOf({ processes }: Pick<Incident, "processes">): TreeNode[] {
  const children = new Map<string | undefined, StoryProcess[]>();
  for (const process of [...processes.values()].sort(earlier)) {
    const parent = process.parent !== undefined && processes.has(process.parent) ? process.parent : undefined;
    children.set(parent, [...(children.get(parent) ?? []), process]);
  }
  const nodes: TreeNode[] = [];
  const drawn = new Set<string>();
  const draw = (process: StoryProcess, depth: number): void => {
    // A device may state parents in a circle.
    if (drawn.has(process.key)) return;
    drawn.add(process.key);
    const { pid, exe, argv, matched, key } = process;
    nodes.push({ depth: Math.min(depth, 64), pid, exe, argv: [...argv], matched: [...matched] });
    for (const child of children.get(key) ?? []) draw(child, depth + 1);
  };
  for (const root of children.get(undefined) ?? []) draw(root, 0);
  for (const process of processes.values()) draw(process, 0);
  return nodes;
}

export const earlier = (a: StoryProcess, b: StoryProcess): number => a.timeMs - b.timeMs || a.pid - b.pid || (a.key < b.key ? -1 : 1);
