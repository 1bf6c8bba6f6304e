import fc from "fast-check";
import { expect, test } from "vitest";
import { Held } from "./held.ts";

const hour = fc.integer({ min: 0, max: 30 });
const step = fc.record({ hour, count: fc.integer({ min: -5, max: 9 }), near: fc.option(hour, { nil: undefined }), wanted: fc.nat(40) });

test("it finds what a search through all hours finds", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const held = new Held([]);
      const model = new Map<number, number>();
      for (const { hour, count, near, wanted } of steps) {
        const now = model.get(hour) ?? 0;
        const more = Math.max(count, -now);
        held.add(hour, more);
        model.set(hour, now + more);
        const sorted = [...model].sort(([a], [b]) => (near === undefined ? 0 : Math.abs(a - near) - Math.abs(b - near)) || a - b);
        const parts: { hour: number; part: number }[] = [];
        let left = wanted;
        for (const [at, there] of sorted) {
          const part = Math.min(left, there);
          if (part > 0) parts.push({ hour: at, part });
          left -= part;
        }
        expect(held.find(wanted, near)).toEqual(parts);
      }
      expect(new Map(held.counts)).toEqual(model);
    }),
  );
});
