import type { TreeNode } from "@picket/protocol/alert";
import { expect, test } from "vitest";
import { foldTree, matchedOn } from "./tree.ts";

/** One process below the other; `*` marks those that something matched on. */
const tree = (...names: string[]): TreeNode[] =>
  names.map((name, depth) => ({
    depth,
    pid: depth + 1,
    exe: name.replace("*", ""),
    argv: [],
    matched: name.endsWith("*") ? ["a rule"] : [],
  }));
const shown = (...names: string[]) => {
  const { hidden, nodes } = foldTree(tree(...names));
  return [hidden, ...nodes.map((node) => node.exe)];
};

test.each<[string, string[], (string | number)[]]>([
  ["ancestors above the parent of the first match are folded", ["init", "sshd", "bash", "nginx", "sh*", "id"], [3, "nginx", "sh", "id"]],
  ["one alone is not worth a row that says so", ["init", "nginx", "sh*"], [0, "init", "nginx", "sh"]],
  ["nothing above, nothing folded", ["sh*", "id*"], [0, "sh", "id"]],
  ["without a match the last process is what it is about", ["init", "sshd", "bash", "vi"], [2, "bash", "vi"]],
  ["no tree", [], [0]],
])("%s", (_, names, expected) => expect(shown(...names)).toEqual(expected));

test("the rule the alert is about stands first", () => {
  const node = { ...tree("sh")[0]!, matched: ["a", "b", "c"] };
  expect(matchedOn(node, "b")).toEqual(["b", "a", "c"]);
  expect(matchedOn(node, "other")).toEqual(["a", "b", "c"]);
});
