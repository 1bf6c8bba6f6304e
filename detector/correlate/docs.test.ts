// The table in docs/detection.md is the table of the code.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { chains } from "./chains.ts";

const text = readFileSync(new URL("../../docs/detection.md", import.meta.url), "utf8");
const rows = [...text.matchAll(/^\| `(picket-chain-[a-z-]+)` \| .* \| (\d+) \| [^|]+ \|$/gm)].map(([, id, score]) => `${id} ${score}`);

test("every chain is in it with its score, and no other", () => {
  expect(rows.toSorted()).toEqual(chains.map(({ id, score }) => `${id} ${score}`).toSorted());
});

test("every chain says what to do, and its techniques as ATT&CK 19 numbers them", () => {
  for (const { todo, attack } of chains) {
    expect(todo).toMatch(/^[A-Z].{20,200}\.$/);
    expect(attack.tactics.length).toBeGreaterThan(0);
    for (const technique of attack.techniques) expect(technique).toMatch(/^T\d{4}(?:\.\d{3})?$/);
    expect(attack.techniques.filter((technique) => /^T1562|^T1070\.00[12]$/.test(technique))).toEqual([]);
  }
});
