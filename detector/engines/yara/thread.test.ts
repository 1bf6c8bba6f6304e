import { expect, test } from "vitest";
import { startThread } from "./thread.ts";

const unwell = new URL("./testing/unwell-worker.ts", import.meta.url);
const scan = (text: string) => ({ do: "scan", bytes: new TextEncoder().encode(text) }) as const;
const LONG_MS = 20_000;

test.each([
  ["hangs", "hang", "timeout", 300, "no answer within 300 ms"],
  ["ends itself", "exit", "crashed", LONG_MS, "the thread ended"],
  ["throws", "throw", "crashed", LONG_MS, "thrown on purpose"],
  ["answers something else", "lie", "crashed", LONG_MS, "asked for scanned, it said loaded"],
] as const)("a thread that %s is a failure, never a wait", async (_, what, why, timeoutMs, message) => {
  using thread = startThread(unwell);
  expect(await thread.ask(scan("well"), "scanned", LONG_MS)).toMatchObject({ matches: [] });
  await expect(thread.ask(scan(what), "scanned", timeoutMs)).rejects.toMatchObject({ why, message: expect.stringContaining(message) });
});

test("a thread that failed answers nothing more", async () => {
  using thread = startThread(unwell);
  await expect(thread.ask(scan("exit"), "scanned", LONG_MS)).rejects.toMatchObject({ why: "crashed" });
  await expect(thread.ask(scan("well"), "scanned", LONG_MS)).rejects.toMatchObject({ why: "crashed" });
});

test("a thread that is ended leaves no question open", async () => {
  const thread = startThread(unwell);
  const asked = thread.ask(scan("hang"), "scanned", LONG_MS);
  thread[Symbol.dispose]();
  await expect(asked).rejects.toMatchObject({ why: "crashed" });
});

test("a program that is not there is a failure", async () => {
  using thread = startThread(new URL("./testing/absent.ts", import.meta.url));
  await expect(thread.ask(scan("well"), "scanned", LONG_MS)).rejects.toMatchObject({ why: "crashed" });
});
