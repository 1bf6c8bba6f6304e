// HTTPS for operators and for machines that enrol. Registers the routes of protocol/rest.ts; what they do is in handlers.ts.

import type { Server } from "node:https";
import { type Problem, type RouteName, routes, STREAM_PATH } from "@picket/protocol/rest";
import { tryParse } from "@picket/protocol/try-parse";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { Refused } from "../refused.ts";
import type { ApiDeps, Operator } from "./deps.ts";
import { FAILURE_LIMITS, type FailureLimits, Failures, OPEN_LIMITS } from "./failures.ts";
import { handlers } from "./handlers.ts";
import { serveHealth } from "./health.ts";
import { serveRelease } from "./installer.ts";
import { serveLog } from "./log.ts";
import { serveMetrics } from "./metrics.ts";
import { openApi } from "./openapi.ts";
import { invalid, problem, problemOf } from "./problem.ts";
import { STREAM_LIMITS, type StreamLimits, Streams } from "./stream.ts";
import { strict } from "./strict.ts";

/** Largest body of any call: a key list of 64 KiB, with JSON's escapes. */
const MAX_BODY_BYTES = 128 << 10;
/** A connection that says nothing, or a header that does not end. */
const IDLE_MS = 20_000;
/** A body must be complete after this; without it a byte a second would hold a connection for ever. */
const BODY_MS = 15_000;
const MAX_CONNECTIONS = 512;

// What helmet sets, as far as it means something for JSON that no browser page should ever show. No CORS header: no web page may call.
const HEADERS: Record<string, string> = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

export type ApiOptions = {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** The broker's certificate (with what chain it has) and key, PEM. */
  readonly cert: string;
  readonly key: string;
  /** For tests; the defaults are the shipped limits. */
  readonly limits?: {
    readonly failures?: FailureLimits;
    readonly open?: FailureLimits;
    readonly stream?: StreamLimits;
    readonly bodyMs?: number;
    readonly idleMs?: number;
  };
};

export type Api = AsyncDisposable & { readonly port: number };

declare module "fastify" {
  interface FastifyRequest {
    operator: Operator | undefined;
    bodyDeadline: ReturnType<typeof setTimeout> | undefined;
  }
  interface FastifyContextConfig {
    /** Whoever adds a route says who may call it; one that does not say is closed. */
    auth?: "operator" | "open" | "scrape";
  }
}

/** Listens. Rejects when the address is taken or the certificate cannot be used. */
export async function startApi(deps: ApiDeps, options: ApiOptions): Promise<Api> {
  const https = { cert: options.cert, key: options.key, minVersion: "TLSv1.3" } as const;
  const app = Fastify({
    https,
    bodyLimit: MAX_BODY_BYTES,
    connectionTimeout: options.limits?.idleMs ?? IDLE_MS,
    exposeHeadRoutes: false,
    // A stream never ends by itself: on close it is cut, not waited for.
    forceCloseConnections: true,
  });
  app.server.maxConnections = MAX_CONNECTIONS;
  const failures = new Failures(options.limits?.failures ?? FAILURE_LIMITS);
  const streams = new Streams(deps, options.limits?.stream ?? STREAM_LIMITS);
  const open = new Failures(options.limits?.open ?? OPEN_LIMITS);
  guard(app, deps, { failures, open }, options.limits?.bodyMs ?? BODY_MS);
  register(app, deps);
  app.get(STREAM_PATH, { config: { auth: "operator" } }, (request, reply) => {
    if (streams.isFull) throw new Refused("unavailable", "Too many live streams are open", "Close one");
    reply.hijack();
    // Whoever only listens sends nothing, which is what the idle timeout looks at. The stream has limits of its own.
    request.raw.socket.setTimeout(0);
    streams.add(reply.raw, request.operator!.id, HEADERS);
  });
  serveRelease(app, deps.installer);
  serveLog(app, deps);
  serveHealth(app, deps);
  serveMetrics(app, deps);
  const document = openApi(deps.version);
  app.get("/openapi.json", { config: { auth: "operator" } }, () => document);
  await app.listen({ host: options.host, port: options.port });
  const address = app.server.address();
  return {
    port: typeof address === "object" && address ? address.port : options.port,
    async [Symbol.asyncDispose]() {
      streams[Symbol.dispose]();
      await app.close();
    },
  };
}

type App = FastifyInstance<Server>;

/** All that happens before a handler, and to every answer. */
function guard(app: App, deps: ApiDeps, { failures, open }: { failures: Failures; open: Failures }, bodyMs: number): void {
  app.removeContentTypeParser("text/plain");
  app.decorateRequest("operator", undefined);
  app.decorateRequest("bodyDeadline", undefined);
  app.addHook("onRequest", async (request, reply) => {
    reply.headers(HEADERS);
    const { auth } = request.routeOptions.config;
    if (request.is404 || (auth === "open" && request.method === "GET")) return;
    const token = auth === "open" ? undefined : bearerOf(request);
    request.operator = token === undefined ? undefined : deps.credentials.find(token);
    if (request.operator || (auth === "scrape" && token !== undefined && deps.mayScrape(token))) return;
    const refuseFor = (waitMs: number, what: string) => {
      if (waitMs === 0) return;
      reply.header("retry-after", Math.ceil(waitMs / 1000));
      throw new Refused("too-many", what, `Wait ${Math.ceil(waitMs / 1000)} s`);
    };
    refuseFor(failures.waitMs(request.ip, deps.nowMs()), "Too many failed attempts came from your address");
    if (auth !== "open") throw unauthenticated(token);
    refuseFor(open.waitMs(request.ip, deps.nowMs()), "Too many calls came from your address");
    open.note(request.ip, deps.nowMs());
  });
  app.addHook("preParsing", (request, _reply, payload, done) => {
    request.bodyDeadline = setTimeout(() => request.raw.socket.destroy(), bodyMs);
    done(null, payload);
  });
  // The one comes after a body that was read or not there, the other after one that was refused.
  app.addHook("preValidation", async (request) => clearTimeout(request.bodyDeadline));
  app.addHook("onResponse", async (request) => clearTimeout(request.bodyDeadline));
  app.setNotFoundHandler((_request, reply) => send(reply, problem(404, "There is no such call", "See GET /openapi.json")));
  app.setErrorHandler((error, request, reply) => {
    const { problem: shown, ours } = problemOf(error);
    if (ours) deps.report(error);
    if (shown.status === 401) reply.header("www-authenticate", 'Bearer realm="picket"');
    // A wrong enrolment secret, renewal proof or CSR is a guess like any other, and checking it costs a signature.
    const isGuess = shown.status === 401 || (request.operator === undefined && request.method !== "GET");
    if (isGuess && shown.status < 500 && shown.status !== 429) failures.note(request.ip, deps.nowMs());
    return send(reply, shown);
  });
}

const bearerOf = (request: FastifyRequest) => /^Bearer ([\x21-\x7e]{1,256})$/i.exec(request.headers.authorization ?? "")?.[1];

function unauthenticated(token: string | undefined): Refused {
  const what = token === undefined ? "This call needs an operator credential" : "This credential is not valid here";
  return new Refused("unauthenticated", what, "Send `Authorization: Bearer <token>` with an operator's token of this site");
}

function register(app: App, deps: ApiDeps): void {
  const all = handlers(deps);
  for (const [name, route] of Object.entries(routes)) {
    // The table's types hold for each name by itself, which TypeScript cannot see inside a loop.
    const handle = all[name as RouteName] as (input: object) => Promise<unknown>;
    app.route({
      method: route.method,
      url: route.path,
      config: { auth: route.auth },
      handler: async (request) => {
        const input = {
          params: read("path", route.params, request.params),
          query: read("query", route.query, request.query),
          body: route.body ? read("body", route.body, request.body) : nothing(request.body),
          operator: request.operator?.name ?? "",
        };
        // Parsing the answer too keeps the contract, and lets nothing out that it does not name.
        return route.response.parse(await handle(input));
      },
    });
  }
}

function read(where: "path" | "query" | "body", type: (typeof routes)[RouteName]["params" | "body"] & {}, value: unknown): unknown {
  const result = tryParse(strict(type), value);
  if (!result.success) throw invalid(where, result.error);
  return result.data;
}

function nothing(body: unknown): undefined {
  if (body == null || (typeof body === "object" && Object.keys(body).length === 0)) return undefined;
  throw new Refused("invalid", "This call takes no body");
}

function send(reply: FastifyReply, shown: Problem): FastifyReply {
  return reply.code(shown.status).type("application/problem+json").send(shown);
}
