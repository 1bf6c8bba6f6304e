import type { StreamItem } from "@picket/protocol/rest";
import { expect, test } from "vitest";
import { startFakeSite } from "../testing/fake-site.ts";
import { madeAlert } from "../testing/made-up.ts";
import { createClient } from "./client.ts";
import { follow, retryPauseMs } from "./follow.ts";
import type { SiteError } from "./site-error.ts";
import { readSse } from "./sse.ts";

/** Collects what a follower hears; `until` resolves when `check` holds. */
function listener() {
  const heard: string[] = [];
  const errors: SiteError[] = [];
  const waiting = new Set<() => void>();
  const add = (text: string) => {
    heard.push(text);
    for (const look of waiting) look();
  };
  const until = (check: () => boolean) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (!check()) return;
        waiting.delete(look);
        resolve();
      };
      waiting.add(look);
      look();
    });
  const on = {
    open: () => add("open"),
    item: (item: StreamItem) => add(item.kind === "alert" ? item.alert.rule.title : item.kind),
    lost: (error: SiteError) => {
      errors.push(error);
      add("lost");
    },
  };
  return { heard, errors, until, on };
}
const count = (list: readonly string[], text: string) => list.filter((one) => one === text).length;

test("connects, resyncs, follows; after a cut it does so again", async () => {
  const site = await startFakeSite();
  const stop = new AbortController();
  const { heard, until, on } = listener();
  const ended = follow(createClient(site.access), on, stop.signal);
  await until(() => heard.includes("site"));
  site.push({ kind: "alert", alert: madeAlert("a") });
  await until(() => heard.includes("Reverse shell a"));
  expect(heard.slice(0, 2)).toEqual(["open", "site"]);
  site.cut();
  await until(() => count(heard, "site") === 2);
  expect(heard.slice(-3)).toEqual(["lost", "open", "site"]);
  site.push({ kind: "alert", alert: madeAlert("b") });
  await until(() => heard.includes("Reverse shell b"));
  stop.abort();
  await ended;
  await site.stop();
});

test("an item that comes while the resync is still reading is not lost", async () => {
  const site = await startFakeSite();
  const stop = new AbortController();
  const { heard, until, on } = listener();
  const client = createClient(site.access);
  const connected = Promise.withResolvers<void>();
  const resync = Promise.withResolvers<void>();
  const stream = async (signal: AbortSignal) => {
    const items = await client.stream(signal);
    connected.resolve();
    return items;
  };
  const ended = follow({ access: site.access, stream }, { ...on, open: () => resync.promise }, stop.signal);
  await connected.promise;
  site.push({ kind: "alert", alert: madeAlert("early") });
  resync.resolve();
  await until(() => heard.includes("Reverse shell early"));
  stop.abort();
  await ended;
  await site.stop();
});

test("a site that fell silent is left and connected to again", async () => {
  const site = await startFakeSite();
  const stop = new AbortController();
  const { heard, errors, until, on } = listener();
  const ended = follow(createClient(site.access, { silenceMs: 50 }), on, stop.signal);
  await until(() => count(heard, "site") >= 2);
  expect(errors[0]).toMatchObject({ kind: "timeout", title: "the site fell silent" });
  stop.abort();
  await ended;
  await site.stop();
});

test("a failing resync ends its connection and is tried again", async () => {
  const site = await startFakeSite();
  const stop = new AbortController();
  const { heard, until, on } = listener();
  let tries = 0;
  const open = () => {
    on.open();
    if (tries++ === 0) throw new Error("resync failed");
  };
  const ended = follow(createClient(site.access), { ...on, open }, stop.signal);
  await until(() => heard.includes("site"));
  expect(heard).toEqual(["open", "lost", "open", "site"]);
  stop.abort();
  await ended;
  await site.stop();
});

test("pauses double to 8 s and differ between consoles", () => {
  expect([0, 1, 2, 5, 50].map((failures) => retryPauseMs(failures, 0))).toEqual([250, 500, 1000, 8000, 8000]);
  expect(retryPauseMs(0, 1)).toBe(125);
});

const streamOf = (...parts: string[]) =>
  new ReadableStream<Uint8Array>({
    start(controller) {
      for (const part of parts) controller.enqueue(new TextEncoder().encode(part));
      controller.close();
    },
  });

test.each([
  ["cut anywhere", ["event: al", "ert\nda", 'ta: {"a":1}\n', "\n"], [{ event: "alert", data: '{"a":1}' }]],
  ["several lines of data", ["data: a\ndata: b\n\n"], [{ event: "message", data: "a\nb" }]],
  ["CRLF", ["event: site\r\ndata: x\r\n\r\n"], [{ event: "site", data: "x" }]],
  ["comments", [": alive\n\ndata: x\n\n"], [{ event: "message", data: "x" }]],
  ["an unfinished last one", ["data: x\n\ndata: y\n"], [{ event: "message", data: "x" }]],
])("reads events %s", async (_, parts, expected) => {
  expect(await Array.fromAsync(readSse(streamOf(...parts), 1000))).toEqual(expected);
});

test("an event without end does not fill the memory", async () => {
  const endless = new ReadableStream<Uint8Array>({ pull: (controller) => controller.enqueue(new Uint8Array(1 << 20).fill(120)) });
  await expect(Array.fromAsync(readSse(endless, 1000))).rejects.toThrow(/longer than/);
});
