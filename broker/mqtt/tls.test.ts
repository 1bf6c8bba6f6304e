import { Socket } from "node:net";
import { expect, test } from "vitest";
import { Doors } from "./tls.ts";

/** A connection that never says a word. */
const knock = (doors: Doors) => {
  const socket = new Socket();
  doors.enter(socket);
  return socket;
};

test("strangers who only connect keep nobody out: when all places are taken, the slowest makes room", () => {
  let nowMs = 0;
  const doors = new Doors({ nowMs: () => nowMs }, () => nowMs);
  const strangers = Array.from({ length: 2048 }, () => knock(doors));
  expect(strangers.filter(({ destroyed }) => destroyed)).toEqual([]);
  // A site that reconnects at once: handshakes that have only begun are not given up for others.
  expect(knock(doors).destroyed).toBe(true);
  nowMs = 1000;
  const device = knock(doors);
  expect(device.destroyed).toBe(false);
  expect(strangers.flatMap(({ destroyed }, at) => (destroyed ? [at] : []))).toEqual([0]);
  doors.leave(device, true);
  for (const socket of strangers) doors.leave(socket, false);
  // They paid for it: their address is turned away now.
  expect(knock(doors).destroyed).toBe(true);
});
