// A program's own page on loopback: `/healthz` and `/metrics`, for supervisors and scrapers on the same host. It only ever answers.
import { createServer, type Socket } from "node:net";
import * as z from "zod";
import { briefOf, type Health, questionOf, statusOf } from "./health.ts";
import { METRICS_TYPE } from "./metrics.ts";

const HOST = "127.0.0.1";
/** Longest request, with its headers. */
const MAX_REQUEST_BYTES = 8 << 10;
/** From the first byte to the last of the answer, however slowly either comes. */
const DEADLINE_MS = 5000;
const MAX_CONNECTIONS = 16;

/** The `[status]` section of a program's configuration. `usual`: the port it has by custom. */
export const statusSettings = (usual: number) =>
  z
    .strictObject({
      port: z
        .int()
        .min(0)
        .max(65535)
        .default(0)
        .meta({ description: `Port of ${HOST} for /healthz and /metrics, ${usual} by custom; 0: no such page (docs/metrics.md)` }),
    })
    .prefault({});

export type StatusPages = {
  readonly health: () => Health;
  /** Text of protocol/metrics.ts. */
  readonly metrics: () => string;
};

export type StatusPage = AsyncDisposable & { readonly port: number };

/**
 * Listens on 127.0.0.1:`port`; 0 picks a free one. Rejects when the port cannot be had. One request a connection. A `Host` other than loopback is refused:
 * a web page whose name was rebound to 127.0.0.1 must not read this.
 */
export async function serveStatusPage(pages: StatusPages, port: number, deadlineMs = DEADLINE_MS): Promise<StatusPage> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    // Whoever asks is answered at once; a user of this host who only holds connections must not make a supervisor believe that nobody is there.
    const [oldest] = open;
    if (oldest && open.size >= MAX_CONNECTIONS) {
      open.delete(oldest);
      oldest.destroy();
    }
    open.add(socket);
    const deadline = setTimeout(() => socket.destroy(), deadlineMs);
    socket.on("close", () => {
      clearTimeout(deadline);
      open.delete(socket);
    });
    socket.on("error", () => socket.destroy());
    answerOnce(socket, pages);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: HOST, port }, () => resolve());
  });
  const address = server.address();
  return {
    port: typeof address === "object" && address ? address.port : port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function answerOnce(socket: Socket, pages: StatusPages): void {
  let head = "";
  socket.on("data", (bytes: Buffer) => {
    if (socket.writableEnded) return;
    head += bytes.toString("latin1");
    const end = head.indexOf("\r\n\r\n");
    if (end === -1 && head.length <= MAX_REQUEST_BYTES) return;
    const answer = end === -1 || end > MAX_REQUEST_BYTES ? say(431, "the request is too large") : answerTo(head.slice(0, end), pages);
    head = "";
    socket.end(answer);
  });
}

/** The whole answer to a request's head. Pure but for what `pages` tell. */
export function answerTo(head: string, pages: StatusPages): string {
  const [request = "", ...fields] = head.split("\r\n");
  const [, method, target, version] = /^([!-~]{1,16}) (\/[!-~]*) HTTP\/1\.([01])$/.exec(request) ?? [];
  if (target === undefined) return say(400, "this is no HTTP request");
  // Trimmed by hand: an expression that looks for blanks at the end takes 80 ms for 8,000 of them before a letter.
  const hosts = fields.filter((field) => /^host:/i.test(field)).map((field) => field.slice("host:".length).trim());
  // HTTP/1.0 need not name one, and no browser speaks it.
  if (hosts.length > 1 || (hosts.length === 0 && version === "1")) return say(400, "one Host header is needed");
  if (hosts[0] !== undefined && !isLoopback(hosts[0])) return say(421, "this page answers to 127.0.0.1 and localhost only");
  if (method !== "GET" && method !== "HEAD") return say(405, "this page can only be read", "allow: GET, HEAD\r\n");
  const answer = page(target, pages);
  return method === "HEAD" ? answer.slice(0, answer.indexOf("\r\n\r\n") + 4) : answer;
}

function page(target: string, pages: StatusPages): string {
  try {
    const question = questionOf(target);
    if (question !== undefined) {
      const health = pages.health();
      return reply(statusOf(briefOf(health), question), "application/json", `${JSON.stringify(health)}\n`);
    }
    return target === "/metrics" ? reply(200, METRICS_TYPE, pages.metrics()) : say(404, "there are /healthz and /metrics");
  } catch (error) {
    return say(500, `the figures could not be had: ${error instanceof Error ? error.message : String(error)}`);
  }
}

const isLoopback = (host: string) => /^(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?$/i.test(host);

const phrases = {
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  421: "Misdirected Request",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  503: "Service Unavailable",
} as const;

const say = (status: keyof typeof phrases, text: string, more = "") => reply(status, "text/plain; charset=utf-8", `${text}\n`, more);

const reply = (status: keyof typeof phrases, type: string, body: string, more = "") =>
  `HTTP/1.1 ${status} ${phrases[status]}\r\ncontent-type: ${type}\r\ncontent-length: ${Buffer.byteLength(body)}\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n${more}connection: close\r\n\r\n${body}`;
