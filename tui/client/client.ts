// The typed client of the site's REST interface. Paths, bodies and answers come from the one table in protocol/rest.ts.
import {
  type BodyOf,
  type ParamsOf,
  Problem,
  type QueryOf,
  type ResponseOf,
  type RouteName,
  routes,
  STREAM_PATH,
  StreamItem,
} from "@picket/protocol/rest";
import * as z from "zod";
import type { SiteAccess } from "./access.ts";
import { asSiteError, SiteError } from "./site-error.ts";
import { readSse } from "./sse.ts";

/** Longest answer read, bytes. 1,000 alerts with full trees stay far below. */
export const MAX_ANSWER_BYTES = 64 << 20;
const TIMEOUT_MS = 10_000;
/** The site sends a sign of life every 5 s; three missed mean that the connection is dead. */
const SILENCE_MS = 15_000;

export type CallInput<N extends RouteName> = {
  readonly params?: ParamsOf<N>;
  readonly query?: QueryOf<N>;
  readonly body?: BodyOf<N>;
  readonly signal?: AbortSignal | undefined;
};

export type SiteClient = {
  readonly access: SiteAccess;
  /** Calls a route and checks the answer against its schema. Throws `SiteError`. */
  call<N extends RouteName>(name: N, input?: CallInput<N>): Promise<ResponseOf<N>>;
  /** Opens the live stream; resolves when the site has accepted it. The items end with a thrown `SiteError`. */
  stream(signal: AbortSignal): Promise<AsyncIterable<StreamItem>>;
};

/** A client of one site. Nothing is sent before the first call. Times in milliseconds. */
export function createClient(access: SiteAccess, options: { timeoutMs?: number; silenceMs?: number } = {}): SiteClient {
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  return {
    access,
    call: (name, input = {}) => call(access, name, input, timeoutMs),
    stream: (signal) => openStream(access, signal, timeoutMs, options.silenceMs ?? SILENCE_MS),
  };
}

async function call<N extends RouteName>(access: SiteAccess, name: N, input: CallInput<N>, timeoutMs: number): Promise<ResponseOf<N>> {
  const { method, path, response } = routes[name];
  const url = urlOf(access, path, input.params ?? {}, input.query ?? {});
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const answer = await fetch(url, {
      method,
      headers: { authorization: `Bearer ${access.token}`, ...(input.body === undefined ? {} : { "content-type": "application/json" }) },
      ...(input.body === undefined ? {} : { body: JSON.stringify(input.body) }),
      signal: input.signal ? AbortSignal.any([timeout, input.signal]) : timeout,
      ...tls(access),
    });
    const text = await readBounded(answer, url);
    if (!answer.ok) throw problemOf(answer.status, text, url);
    const parsed = response.safeParse(jsonOf(text, url));
    if (parsed.success) return parsed.data as ResponseOf<N>;
    throw broken(url, z.prettifyError(parsed.error).replaceAll("\n", " ").slice(0, 300));
  } catch (error) {
    throw asSiteError(error, url);
  }
}

async function openStream(
  access: SiteAccess,
  signal: AbortSignal,
  timeoutMs: number,
  silenceMs: number,
): Promise<AsyncIterable<StreamItem>> {
  const url = urlOf(access, STREAM_PATH, {}, {});
  const stop = new AbortController();
  const onAbort = () => stop.abort();
  signal.addEventListener("abort", onAbort, { once: true });
  const giveUp = setTimeout(() => stop.abort(new DOMException("no answer", "TimeoutError")), timeoutMs);
  try {
    const answer = await fetch(url, {
      headers: { authorization: `Bearer ${access.token}`, accept: "text/event-stream" },
      signal: stop.signal,
      timeout: false,
      ...tls(access),
    } as RequestInit);
    if (!answer.ok || !answer.body) throw problemOf(answer.status, await readBounded(answer, url), url);
    return items(answer.body, url, stop, silenceMs, () => signal.removeEventListener("abort", onAbort));
  } catch (error) {
    signal.removeEventListener("abort", onAbort);
    throw asSiteError(error, url);
  } finally {
    clearTimeout(giveUp);
  }
}

async function* items(body: ReadableStream<Uint8Array>, url: string, stop: AbortController, silenceMs: number, done: () => void) {
  try {
    for await (const { data } of readSse(body, silenceMs)) {
      // An item this client does not know comes from a newer site; the next resync brings what it meant.
      const item = StreamItem.safeParse(jsonOf(data, url));
      if (item.success) yield item.data;
    }
    throw new SiteError({ kind: "unreachable", title: "the site closed the live stream", detail: new URL(url).host });
  } catch (error) {
    throw asSiteError(error, url);
  } finally {
    done();
    stop.abort();
  }
}

// Said again for each request: NODE_TLS_REJECT_UNAUTHORIZED=0 must not switch the check off.
const tls = (access: SiteAccess) => ({ tls: { ca: access.ca, rejectUnauthorized: true } });

function urlOf(access: SiteAccess, path: string, params: object, query: object): string {
  const values = params as Record<string, unknown>;
  const filled = path.replaceAll(/:(\w+)/g, (_, key: string) => encodeURIComponent(String(values[key])));
  const url = new URL(filled, access.url);
  for (const [key, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(key, String(value));
  return url.href;
}

async function readBounded(answer: Response, url: string): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of answer.body ?? []) {
    size += part.length;
    if (size > MAX_ANSWER_BYTES) throw broken(url, `the answer is longer than ${MAX_ANSWER_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function jsonOf(text: string, url: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw broken(url, "the answer is not JSON");
  }
}

const broken = (url: string, detail: string) =>
  new SiteError({
    kind: "broken",
    title: "the site gave an answer that cannot be read",
    detail: `${new URL(url).pathname}: ${detail}`,
    hint: "Is something else listening there, or is the site a newer version? Compare `picket --version` on both.",
  });

function problemOf(status: number, text: string, url: string): SiteError {
  const kind = status === 401 || status === 403 ? "credential" : status === 404 ? "not-found" : "refused";
  const problem = Problem.safeParse(tryJson(text));
  const fallback = kind === "credential" ? "Is the token in site.json the one `picket site init` printed, and not withdrawn?" : undefined;
  if (!problem.success)
    return new SiteError({ kind, status, title: `the site answered ${status}`, detail: new URL(url).pathname, hint: fallback });
  return new SiteError({ kind, status, title: problem.data.title, detail: problem.data.detail, hint: problem.data.hint ?? fallback });
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
