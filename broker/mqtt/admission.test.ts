import { expect, test } from "vitest";
import { Admission } from "./admission.ts";

test("an address that keeps failing is turned away for a while; its neighbours are not", () => {
  let nowMs = 0;
  const admission = new Admission(() => nowMs);
  for (let n = 0; n < 100; n++) {
    expect(admission.begin("192.0.2.1")).toBe(true);
    admission.settle("192.0.2.1", false);
  }
  expect(admission.begin("192.0.2.1")).toBe(false);
  expect(admission.begin("192.0.2.2")).toBe(true);
  nowMs += 1000;
  expect(admission.begin("192.0.2.1")).toBe(true);
});

test("a whole site that reconnects at once is let in", () => {
  const admission = new Admission(() => 0);
  for (let n = 0; n < 2000; n++) expect(admission.begin("192.0.2.1")).toBe(true);
  for (let n = 0; n < 2000; n++) admission.settle("192.0.2.1", true);
  expect(admission.begin("192.0.2.1")).toBe(true);
});

test("handshakes that do not end are bounded", () => {
  const admission = new Admission(() => 0);
  let open = 0;
  while (admission.begin(`192.0.2.${open % 250}`)) open++;
  expect(open).toBe(2048);
  admission.settle("192.0.2.0", true);
  expect(admission.begin("192.0.2.0")).toBe(true);
});
