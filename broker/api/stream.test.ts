import { connect } from "node:tls";
import { STREAM_PATH, StreamItem } from "@picket/protocol/rest";
import { expect, test } from "vitest";
import { detection, signCommand } from "../testing/samples.ts";
import { STREAM_LIMITS } from "./stream.ts";
import { type Site, startSite } from "./testing/site.ts";

/** Items as an SSE client sees them: each block must hold one `event` and one `data` line. */
async function* items(response: Response): AsyncGenerator<StreamItem> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of response.body!) {
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const [event = "", data = "", ...more] = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      expect(more).toEqual([]);
      const item = StreamItem.parse(JSON.parse(data.replace(/^data: /, "")));
      expect(event).toBe(`event: ${item.kind}`);
      yield item;
    }
  }
}

const open = (site: Site, token = site.token) =>
  fetch(site.url + STREAM_PATH, { headers: { authorization: `Bearer ${token}` }, tls: { ca: site.ca } });

async function next(stream: AsyncGenerator<StreamItem>, kind: StreamItem["kind"]): Promise<StreamItem> {
  for await (const item of { [Symbol.asyncIterator]: () => ({ next: () => stream.next() }) }) if (item.kind === kind) return item;
  throw new Error(`the stream ended without a ${kind} item`);
}

const quick = { ...STREAM_LIMITS, heartbeatMs: 20, mergeMs: 1 };

test("begins with the site, then tells what changes", async () => {
  await using site = await startSite();
  const response = await open(site);
  expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
  const stream = items(response);
  expect((await stream.next()).value).toMatchObject({ kind: "site", site: { site: "dock" } });

  const alert = site.putAlert(detection({ summary: "two\nlines\n\nevent: site\rdata: {}" }));
  site.changes.tell({ kind: "alert", id: alert.id, created: true });
  expect(await next(stream, "alert")).toEqual({ kind: "alert", alert });

  site.changes.tell({ kind: "device", device: "gw-014" });
  expect(await next(stream, "device")).toMatchObject({ device: { id: "gw-014" } });

  const sent = await site.call("POST", "/v1/devices/gw-014/commands", { jws: await signCommand(site.keyring) });
  const { command } = (await sent.json()) as { command: { jti: string } };
  site.changes.tell({ kind: "command", jti: command.jti, device: "gw-014" });
  expect(await next(stream, "command")).toMatchObject({ command: { jti: command.jti } });
});

test("a burst of changes of one thing is told once, as it is now", async () => {
  await using site = await startSite();
  const stream = items(await open(site));
  await stream.next();
  const first = site.putAlert(detection({ count: 1 }));
  for (let revision = 1; revision <= 50; revision++) {
    site.putAlert({ ...first, revision, count: revision });
    site.changes.tell({ kind: "alert", id: first.id, created: false });
  }
  site.changes.tell({ kind: "device", device: "gw-014" });
  expect((await stream.next()).value).toMatchObject({ kind: "alert", alert: { count: 50 } });
  expect((await stream.next()).value).toMatchObject({ kind: "device" });
});

test("a sign of life comes without any change, long after the time a body or an idle connection may take", async () => {
  await using site = await startSite({ limits: { stream: quick, bodyMs: 30, idleMs: 100 } });
  const stream = items(await open(site));
  for (let beat = 0; beat < 30; beat++) expect((await stream.next()).value.kind).toBe("site");
});

test("a revoked credential gets nothing more and loses its stream", async () => {
  await using site = await startSite({ limits: { stream: quick } });
  const stream = items(await open(site, site.credentials.create("ben", Date.now())));
  await stream.next();
  site.credentials.revoke("ben", Date.now());
  const alert = site.putAlert(detection());
  site.changes.tell({ kind: "alert", id: alert.id, created: true });
  const told: string[] = [];
  const ended = (async () => {
    for await (const item of stream) told.push(item.kind);
  })().catch(() => {});
  await ended;
  expect(told).not.toContain("alert");
  expect((await open(site)).status).toBe(200);
});

/** Asks for the stream and then never reads. */
function sleeper(site: Site): Promise<void> {
  const socket = connect({ host: "127.0.0.1", port: site.port, ca: site.ca });
  socket.write(`GET ${STREAM_PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${site.token}\r\n\r\n`);
  return new Promise((resolve) => {
    socket.once("data", () => {
      socket.pause();
      resolve();
    });
  });
}

test("a reader that does not keep up is cut; others go on", async () => {
  // One stream at most: the second is let in when the first was cut, and not before.
  await using site = await startSite({ limits: { stream: { ...STREAM_LIMITS, mergeMs: 1, behindBytes: 100_000, clients: 1 } } });
  await sleeper(site);
  expect((await open(site)).status).toBe(503);
  const big = site.putAlert(detection({ tree: [{ depth: 0, pid: 1, exe: "x".repeat(500_000), argv: [], matched: [] }] }));
  let status = 503;
  for (let round = 0; round < 500 && status === 503; round++) {
    site.changes.tell({ kind: "alert", id: big.id, created: false });
    const response = await open(site);
    status = response.status;
    await response.body?.cancel();
  }
  expect(status).toBe(200);
});

test("a reader that takes nothing at all is cut, however little waits for it", async () => {
  const limits = { ...STREAM_LIMITS, mergeMs: 1, heartbeatMs: 10, stuckBeats: 3, behindBytes: 1 << 30, clients: 1 };
  await using site = await startSite({ limits: { stream: limits } });
  await sleeper(site);
  const big = site.putAlert(detection({ tree: [{ depth: 0, pid: 1, exe: "x".repeat(500_000), argv: [], matched: [] }] }));
  let status = 503;
  for (let round = 0; round < 500 && status === 503; round++) {
    // Enough to fill the kernel's buffers; from then on nothing moves.
    if (round < 30) site.changes.tell({ kind: "alert", id: big.id, created: false });
    const response = await open(site);
    status = response.status;
    await response.body?.cancel();
  }
  expect(status).toBe(200);
});

test("closing the API ends open streams at once", async () => {
  const site = await startSite();
  const stream = items(await open(site));
  await stream.next();
  await site[Symbol.asyncDispose]();
  const rest = Array.fromAsync(stream).catch(() => []);
  expect((await rest).filter((item) => item.kind !== "site")).toEqual([]);
});
