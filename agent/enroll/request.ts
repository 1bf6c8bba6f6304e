import { request as httpsRequest, type RequestOptions } from "node:https";
import { isIP } from "node:net";
import type { PeerCertificate } from "node:tls";
import { Problem } from "@picket/protocol/rest";
import { tryParse } from "@picket/protocol/try-parse";
import { checkSite, splitHostPort } from "../site-tls.ts";

/** The site answered, and the answer was no. `message` says why and what to do, as the site put it. */
export class Refused extends Error {
  override name = "Refused";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const MAX_ANSWER_BYTES = 256 << 10;
const TIMEOUT_MS = 20_000;
/** Of a refusal's text. */
const MAX_SHOWN = 1000;

export type Call = {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body?: unknown;
  /** "host:port" of the site. */
  readonly address: string;
  /** IP address to connect to instead of resolving the host: isolation cuts DNS. */
  readonly via?: string | undefined;
  /** PEM of the pinned CA. Undefined trusts nobody in particular: only for what is checked by its hash afterwards. */
  readonly ca: string | undefined;
};
export type Answer = {
  readonly json: unknown /** The site's clock, milliseconds, as its Date header says. */;
  readonly dateMs: number | undefined;
};

/** One JSON request over TLS 1.3 on a connection of its own. Throws `Refused`, or an error that names the address. */
export async function call(of: Call): Promise<Answer> {
  const { host, port } = splitHostPort(of.address);
  const body = of.body === undefined ? undefined : JSON.stringify(of.body);
  const trust: RequestOptions =
    of.ca === undefined
      ? { rejectUnauthorized: false }
      : {
          ca: of.ca,
          rejectUnauthorized: true,
          checkServerIdentity: (_host: string, certificate: PeerCertificate) => checkSite(host, certificate),
        };
  let answer: { status: number; text: string; date: string | undefined };
  try {
    answer = await exchange(
      {
        host: of.via ?? host,
        ...(isIP(host) ? {} : { servername: host }),
        port,
        method: of.method,
        path: of.path,
        minVersion: "TLSv1.3",
        agent: false,
        timeout: TIMEOUT_MS,
        ...trust,
      },
      body,
    );
  } catch (error) {
    throw new Error(`${of.method} https://${of.address}${of.path}: ${error instanceof Error ? error.message : error}`);
  }
  const json = parse(answer.text);
  if (answer.status < 200 || answer.status > 299) throw new Refused(answer.status, describe(answer.status, json));
  const dateMs = Date.parse(answer.date ?? "");
  return { json, dateMs: Number.isNaN(dateMs) ? undefined : dateMs };
}

function exchange(options: RequestOptions, body: string | undefined): Promise<{ status: number; text: string; date: string | undefined }> {
  return new Promise((resolve, reject) => {
    // A connection kept from a call that trusted nobody must not serve one that does.
    const headers = {
      connection: "close",
      ...(body === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
    };
    const request = httpsRequest({ ...options, headers }, (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size > MAX_ANSWER_BYTES) request.destroy(new Error(`the answer is larger than ${MAX_ANSWER_BYTES} bytes`));
        else chunks.push(chunk);
      });
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8"), date: response.headers.date }),
      );
    });
    request.on("timeout", () => request.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
    request.on("error", reject);
    request.end(body);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function describe(status: number, json: unknown): string {
  const problem = tryParse(Problem, json);
  if (!problem.success) return `the site answered ${status}`;
  // Whoever answers before the site has proved itself must not steer the terminal this is shown on.
  return [problem.data.detail, problem.data.hint].filter(Boolean).join(". ").slice(0, MAX_SHOWN).replaceAll(/\p{C}/gu, "\uFFFD");
}
