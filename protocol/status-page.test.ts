import { connect } from "node:net";
import { expect, test } from "vitest";
import { type Health, health, questionOf } from "./health.ts";
import { answerTo, type StatusPages, serveStatusPage } from "./status-page.ts";

const well = health("agent", "1.2.3", { ready: [undefined], useful: [] });
const pages = (of: Health = well): StatusPages => ({ health: () => of, metrics: () => "# HELP a b\n# TYPE a gauge\na 1\n" });
const get = (target: string, headers = "Host: 127.0.0.1:9100") => `GET ${target} HTTP/1.1\r\n${headers}`;
const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1]);

/** Writes, and resolves with all that comes until the other side ends. */
const talk = (port: number, text: string | Uint8Array) =>
  new Promise<string>((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    let got = "";
    socket.on("data", (bytes) => {
      got += String(bytes);
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(got));
    socket.write(text);
  });

test("says what is asked, by status code and as JSON, to any HTTP client", async () => {
  const ill = health("agent", "1.2.3", { ready: [], useful: ["nothing is acknowledged"] });
  await using page = await serveStatusPage(pages(ill), 0);
  const at = `http://127.0.0.1:${page.port}`;
  const codes = await Promise.all(
    ["/healthz", "/healthz/live", "/healthz?live", "/healthz/ready", "/healthz/useful", "/metrics", "/"].map(
      async (path) => (await fetch(at + path)).status,
    ),
  );
  expect(codes).toEqual([503, 200, 200, 200, 503, 200, 404]);
  expect(await (await fetch(`${at}/healthz`)).json()).toEqual({
    ...{ part: "agent", version: "1.2.3", live: { ok: true, why: [] }, ready: { ok: true, why: [] } },
    useful: { ok: false, why: ["nothing is acknowledged"] },
  });
  const metrics = await fetch(`${at}/metrics`);
  expect(metrics.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  expect(await metrics.text()).toContain("\na 1\n");
});

test.each([
  ["a name that was rebound to loopback", get("/healthz", "Host: evil.example:9100"), 421],
  ["a name that begins like ours", get("/healthz", "Host: 127.0.0.1.evil.example"), 421],
  ["an address of the network", get("/healthz", "Host: 192.168.1.5"), 421],
  ["no Host", get("/healthz", "Accept: */*"), 400],
  ["two Hosts", get("/healthz", "Host: localhost\r\nHost: evil.example"), 400],
  ["writing", "POST /healthz HTTP/1.1\r\nHost: localhost", 405],
  ["an absolute URL", "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost", 400],
  ["HTTP/2", "PRI * HTTP/2.0\r\nHost: localhost", 400],
  ["a path upwards", get("/healthz/../metrics"), 404],
  ["another question", get("/healthz/dead"), 404],
  ["nothing", "", 400],
])("refuses %s", (_, head, status) => {
  expect(statusOf(answerTo(head, pages()))).toBe(status);
});

test.each(["localhost", "LOCALHOST:9100", "127.0.0.1", "[::1]:9100"])("answers to %s", (host) => {
  expect(statusOf(answerTo(get("/healthz", `host:${host} `), pages()))).toBe(200);
});

test("HEAD has the length and no body; HTTP/1.0 needs no Host", () => {
  const answer = answerTo("HEAD /healthz HTTP/1.1\r\nHost: localhost", pages());
  expect(answer).toMatch(/content-length: [1-9]/);
  expect(answer.endsWith("\r\n\r\n")).toBe(true);
  expect(statusOf(answerTo("GET /healthz/live HTTP/1.0", pages()))).toBe(200);
});

test("figures that cannot be had are an answer, not an end", async () => {
  const broken: StatusPages = {
    health: () => {
      throw new Error("no disk");
    },
    metrics: () => "",
  };
  expect(statusOf(answerTo(get("/healthz"), broken))).toBe(500);
});

test("garbage, endless headers, slow bytes and many connections: each ends, and the page goes on answering", async () => {
  await using page = await serveStatusPage(pages(), 0, 300);
  expect(statusOf(await talk(page.port, Buffer.from([0, 255, 13, 10, 13, 10])))).toBe(400);
  expect(statusOf(await talk(page.port, `GET / HTTP/1.1\r\nx: ${"y".repeat(20_000)}`))).toBe(431);
  // A byte now and then, for ever: cut at the deadline without an answer.
  const slow = connect({ host: "127.0.0.1", port: page.port });
  slow.on("error", () => {});
  const drip = setInterval(() => slow.write("G"), 20);
  await new Promise<void>((resolve) => slow.once("close", () => resolve()));
  clearInterval(drip);
  // More than it takes at a time: the oldest are cut at once, the last at the deadline.
  await Promise.all(Array.from({ length: 60 }, () => talk(page.port, "GET /healthz HTTP/1.1\r\n")));
  expect((await fetch(`http://127.0.0.1:${page.port}/healthz/live`)).status).toBe(200);
});

test("who only holds connections keeps nobody else from his answer", async () => {
  await using page = await serveStatusPage(pages(), 0, 3_600_000);
  const idle = Array.from({ length: 100 }, () => connect({ host: "127.0.0.1", port: page.port }).on("error", () => {}));
  await Promise.all(idle.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
  expect((await fetch(`http://127.0.0.1:${page.port}/healthz/live`)).status).toBe(200);
  for (const socket of idle) socket.destroy();
});

test("blanks around and within a Host are read once", () => {
  expect(statusOf(answerTo(get("/healthz", `Host:${" ".repeat(4000)}localhost${" ".repeat(4000)}`), pages()))).toBe(200);
  expect(statusOf(answerTo(get("/healthz", `Host: a${" ".repeat(8000)}b`), pages()))).toBe(421);
});

test("two requests at once get one answer", async () => {
  await using page = await serveStatusPage(pages(), 0);
  const request = `${get("/healthz/live")}\r\n\r\n`;
  expect((await talk(page.port, request + request)).match(/HTTP\/1\.1 200/g)).toHaveLength(1);
});

test("a port that is taken is an error", async () => {
  await using page = await serveStatusPage(pages(), 0);
  await expect(serveStatusPage(pages(), page.port)).rejects.toThrow(/EADDRINUSE|in use/);
});

test.each([
  ["/healthz", "all"],
  ["/healthz?", "all"],
  ["/healthz?ready", "ready"],
  ["/healthz/useful", "useful"],
  ["/healthz/live?x", undefined],
  ["/healthz/", undefined],
  ["/healthzlive", undefined],
] as const)("%s asks for %s", (target, question) => {
  expect(questionOf(target)).toBe(question);
});
