// Every error as RFC 9457 problem+json: what failed, on what, what to do. Nothing about our inside.
import type { Problem } from "@picket/protocol/rest";
import type { FastifyError } from "fastify";
import type * as z from "zod";
import { Refused, type RefusedKind } from "../refused.ts";

const statusOf: Record<RefusedKind, number> = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  "not-found": 404,
  conflict: 409,
  "too-large": 413,
  "too-many": 429,
  unavailable: 503,
};

const titles: Record<number, string> = {
  400: "Bad request",
  401: "Credential needed",
  403: "Forbidden",
  404: "Not found",
  409: "Conflict",
  413: "Too large",
  415: "Unsupported media type",
  429: "Too many requests",
  500: "Internal error",
  503: "Unavailable",
};

/** Makes a problem. `type` is "about:blank": the status says all a program needs (RFC 9457, section 4.2.1). */
export function problem(status: number, detail: string, hint?: string): Problem {
  const title = titles[status] ?? "Refused";
  return { type: "about:blank", title, status, detail, ...(hint === undefined ? {} : { hint }) };
}

/** What a caller may know of an error. `ours` means that it is a fault of this program, to be reported. */
export function problemOf(error: unknown): { problem: Problem; ours: boolean } {
  if (error instanceof Refused) return { problem: problem(statusOf[error.kind], error.message, error.hint), ours: false };
  const { statusCode, code } = error as Partial<FastifyError>;
  if (typeof statusCode !== "number" || statusCode < 400 || statusCode >= 500)
    return { problem: problem(500, "Something failed at the broker", "Look into the broker's log"), ours: true };
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE") return { problem: problem(413, "The body is larger than this call takes"), ours: false };
  if (statusCode === 415) return { problem: problem(415, "This call takes application/json only"), ours: false };
  return { problem: problem(statusCode, "The request cannot be read", "Send well-formed JSON"), ours: false };
}

/** Input that does not fit its schema: names each place and never repeats a value, which may be a secret. */
export function invalid(where: string, error: z.ZodError): Refused {
  const issues = error.issues.flatMap((issue) => {
    if (issue.code === "unrecognized_keys") return issue.keys.map((key) => `${[...issue.path, key].join(".").slice(0, 64)}: unknown key`);
    return [`${issue.path.join(".") || where}: ${issue.message}`];
  });
  return new Refused(
    "invalid",
    `The ${where} does not fit: ${issues.slice(0, 8).join("; ")}`,
    "See GET /openapi.json for what this call takes",
  );
}
