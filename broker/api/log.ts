// The log as it lies, for whoever hunts in it: neither inflated nor decoded here, a page at a time, as fast as the reader takes it.

import type { Server } from "node:https";
import { Readable } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { encodeLogFrame, LOG_PATH, LogQuery } from "@picket/protocol/log-stream";
import { tryParse } from "@picket/protocol/try-parse";
import type { FastifyInstance } from "fastify";
import { Refused } from "../refused.ts";
import type { ApiDeps } from "./deps.ts";
import type { LogPort } from "./events.ts";
import { invalid } from "./problem.ts";

/** Batches read in one go. Between pages ingest has its turn. */
const PAGE = 16;
/** Readers at once: each holds a page and what its socket holds. */
const MAX_READERS = 4;
/** A reader that takes nothing for so long is cut. */
const STALLED_MS = 60_000;
const RETRY_S = 10;

/** Registers the route. */
export function serveLog(app: FastifyInstance<Server>, deps: Pick<ApiDeps, "log" | "credentials">): void {
  let readers = 0;
  app.get(LOG_PATH, { config: { auth: "operator" } }, (request, reply) => {
    const query = tryParse(LogQuery.strict(), request.query);
    if (!query.success) throw invalid("query", query.error);
    if (readers >= MAX_READERS) {
      reply.header("retry-after", RETRY_S);
      throw new Refused("unavailable", `The log is being read by ${MAX_READERS} others`, `Try again in ${RETRY_S} s`);
    }
    readers++;
    const operator = request.operator!.id;
    const stream = Readable.from(
      framesOf(deps.log, query.data, () => deps.credentials.isValid(operator)),
      { objectMode: false },
    );
    // Whoever only reads sends nothing, which is what the idle timeout looks at.
    request.raw.socket.setTimeout(0);
    let taken = -1;
    const stalled = setInterval(() => {
      if (taken === request.raw.socket.bytesWritten) stream.destroy(new Error("the reader takes nothing"));
      taken = request.raw.socket.bytesWritten;
    }, STALLED_MS);
    reply.raw.once("close", () => {
      readers--;
      clearInterval(stalled);
      stream.destroy();
    });
    return reply.type("application/octet-stream").send(stream);
  });
}

/** What is stored now, and nothing of what comes meanwhile. A credential that is revoked ends it at once. */
async function* framesOf(log: LogPort, { sinceMs, device }: LogQuery, isValid: () => boolean): AsyncGenerator<Buffer> {
  const range = log.range({ sinceMs, device });
  yield encodeLogFrame({ kind: "range", ...range });
  for (let offset = range.from; offset < range.to; ) {
    if (!isValid()) throw new Error("the credential was withdrawn");
    const page = log.read({ offset, device, limit: PAGE }).filter((row) => row.offset < range.to);
    if (page.length === 0) break;
    for (const row of page) yield encodeLogFrame({ kind: "batch", offset: row.offset, receivedMs: row.receivedMs }, row.batch);
    offset = page.at(-1)!.offset + 1;
    await setImmediate();
  }
  yield encodeLogFrame({ kind: "end" });
}
