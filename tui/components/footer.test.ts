import { expect, test } from "vitest";
import { widthOf } from "../line.ts";
import { footerLines, type KeyHint } from "./footer.tsx";

const keys: KeyHint[] = [
  ["↵", "open"],
  ["Tab", "devices"],
  ["q", "quit"],
];

test("every key is whole, in as few rows as the width allows", () => {
  const text = (columns: number) => footerLines(keys, columns).map((line) => line.spans.map((span) => span.text).join(""));
  expect(text(28)).toEqual([" ↵ open  Tab devices  q quit"]);
  expect(text(27)).toEqual([" ↵ open  Tab devices", " q quit"]);
  for (let columns = 12; columns < 40; columns++)
    for (const line of footerLines(keys, columns)) expect(widthOf(line)).toBeLessThanOrEqual(columns);
});
