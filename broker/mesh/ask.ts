// One HTTPS call to another site's broker, on a connection of its own.

import { request as httpsRequest, type RequestOptions } from "node:https";
import { Problem } from "@picket/protocol/rest";
import { tryParse } from "@picket/protocol/try-parse";
import { Refused } from "../refused.ts";
import { checkPeer, serverName, splitAddress } from "./dial.ts";

export type Asked = {
  readonly method: "GET" | "POST";
  readonly address: string;
  readonly path: string;
  readonly body?: unknown;
} & (
  | { readonly ca: string; readonly site: string }
  | { /** Trusts nobody in particular: only for what is checked by its hash afterwards. */ readonly ca: undefined }
);
export type Ask = (of: Asked) => Promise<{ status: number; json: unknown; problem: string }>;

const MAX_ANSWER_BYTES = 64 << 10;
const TIMEOUT_MS = 15_000;

/** Throws `Refused` ("unavailable") when nobody answers, or somebody who is not that site. */
export const ask: Ask = async (of) => {
  const { host, port } = splitAddress(of.address);
  const trust: RequestOptions =
    of.ca === undefined
      ? { rejectUnauthorized: false }
      : { ca: of.ca, rejectUnauthorized: true, checkServerIdentity: (_name, certificate) => checkPeer(host, of.site, certificate) };
  try {
    const { status, text } = await exchange(
      {
        host,
        port,
        ...serverName(host),
        method: of.method,
        path: of.path,
        minVersion: "TLSv1.3",
        agent: false,
        timeout: TIMEOUT_MS,
        ...trust,
      },
      of.body === undefined ? undefined : JSON.stringify(of.body),
    );
    const json = parse(text);
    return { status, json, problem: problemOf(status, json) };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Refused("unavailable", `${of.method} https://${of.address}${of.path}: ${why}`, "Can this host reach that address and port?");
  }
};

function exchange(options: RequestOptions, body: string | undefined): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = {
      // A connection kept from a call that trusted nobody must not serve one that does.
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
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") }));
    });
    request.setTimeout(TIMEOUT_MS, () => request.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
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

/** What the other site said, bounded: it is shown to an operator of ours. */
function problemOf(status: number, json: unknown): string {
  const problem = tryParse(Problem, json);
  if (!problem.success) return `it answered ${status}`;
  return [problem.data.detail, problem.data.hint].filter(Boolean).join(". ").slice(0, 500).replaceAll(/\p{C}/gu, "�");
}
