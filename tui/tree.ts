import type { TreeNode } from "@picket/protocol/alert";

/** What matched on a process, the rule that the alert is about before the others. */
export const matchedOn = (node: TreeNode, title: string): readonly string[] =>
  node.matched.includes(title) ? [title, ...node.matched.filter((one) => one !== title)] : node.matched;

/** What started the first process that matters: who was broken into is read there. */
const KEPT_ABOVE = 1;

/** A process tree without the ancestors that explain nothing, and how many those are. */
export type FoldedTree = { readonly hidden: number; readonly nodes: readonly TreeNode[] };

/**
 * Folds the processes at the top that nothing matched on (init, sessions, shells of shells) up to the parent of the first that something did.
 * Where nothing matched, the last process is what the alert is about. A single one stays: its row says more than "1 more".
 */
export function foldTree(tree: readonly TreeNode[]): FoldedTree {
  const first = tree.findIndex((node) => node.matched.length > 0);
  const hidden = Math.max(0, (first < 0 ? tree.length - 1 : first) - KEPT_ABOVE);
  return hidden > 1 ? { hidden, nodes: tree.slice(hidden) } : { hidden: 0, nodes: tree };
}
