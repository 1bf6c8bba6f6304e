import { expect, test } from "vitest";
import { parseRecorded } from "./recorded.ts";

const exec = { type: "process.exec", timeMs: 5, device: "gw", body: { process: { exe: "/bin/sh", argv: ["sh"] } } };

test("type, time, device, exe and argv are enough", () => {
  const { id, event } = parseRecorded(JSON.stringify(exec), 3);
  expect(id).toBe("gw:recorded:2");
  expect(event).toMatchObject({ seq: 2, body: { process: { pid: 0, uid: -1, exe: "/bin/sh" } } });
});

test("an id that is given is kept", () => {
  expect(parseRecorded(JSON.stringify({ ...exec, id: "case-7" }), 1).id).toBe("case-7");
});

test.each(["", "[]", "null", "{}", '{"type":"process.exec","timeMs":1,"device":"gw","body":{"process":{"exe":"/x"}}}'])(
  "%j is refused",
  (line) => {
    expect(() => parseRecorded(line, 1)).toThrow();
  },
);
