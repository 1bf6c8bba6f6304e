import { expect, test } from "vitest";
import { createScanner, factsOf } from "./scanner.ts";

const eicar = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-", "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].join("");
const bytes = (text: string) => new TextEncoder().encode(text);

test("EICAR fires", async () => {
  await using scanner = await createScanner({});
  expect(scanner.problems).toEqual([]);
  const { matches, error } = await scanner.scan(bytes(eicar));
  expect(error).toBeUndefined();
  expect(matches.map(({ rule, file }) => ({ rule, file }))).toEqual([{ rule: "eicar_test_file", file: "builtin/eicar.yar" }]);
  expect(factsOf(matches[0]!)).toEqual({
    id: "yara:eicar_test_file",
    title: "EICAR test file",
    level: "medium",
    author: "Picket",
    attack: { tactics: ["execution"], techniques: ["T1204.002"] },
    score: 35,
    alerts: true,
  });
  expect(matches[0]!.strings.map(({ identifier, offsets, count }) => ({ identifier, offsets, count }))).toEqual([
    { identifier: "$start", offsets: [0], count: 1 },
    { identifier: "$end", offsets: [34], count: 1 },
  ]);
});
