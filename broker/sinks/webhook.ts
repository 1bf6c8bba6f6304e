// One POST as Standard Webhooks has it: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
import { Webhook } from "standardwebhooks";
import type { Failure } from "./retry.ts";

const TIMEOUT_MS = 10_000;

export type WebhookConfig = {
  /** What the sink is called in status and commands. */
  readonly name: string;
  /** http or https. */
  readonly url: string;
  /** "whsec_" and 24 to 64 random bytes in base64, shared with the receiver. */
  readonly secret: string;
  /** What a message is about: an incident with its alerts (default), or each alert. */
  readonly each?: "incident" | "alert";
};

/** A sink that cannot work as configured: which one, what is wrong, what to do. Never repeats the secret. */
export class BadSink extends Error {
  override name = "BadSink";
}

/** Throws `BadSink`. */
export function checkWebhook({ name, url, secret }: WebhookConfig): void {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed?.protocol !== "https:" && parsed?.protocol !== "http:")
    throw new BadSink(`sink "${name}": the url must begin with https:// or http://`);
  if (parsed.username || parsed.password)
    throw new BadSink(`sink "${name}": take user and password out of the url; the signature proves who sends`);
  const bytes = /^whsec_[A-Za-z0-9+/]+={0,2}$/.test(secret) ? Buffer.from(secret.slice(6), "base64").length : 0;
  if (bytes < 24 || bytes > 64)
    throw new BadSink(`sink "${name}": the secret must be "whsec_" and 24 to 64 bytes in base64, e.g. whsec_$(openssl rand -base64 32)`);
}

/**
 * Sends one message. Any 2xx is success; a redirect is not, since following one would let the receiver choose where alerts go.
 * Resolves with undefined, or with what went wrong; does not reject. `nowMs` is signed: receivers refuse messages older than five minutes.
 */
export async function post(
  to: WebhookConfig,
  message: { id: string; payload: string },
  { nowMs, signal }: { nowMs: number; signal: AbortSignal },
): Promise<Failure | undefined> {
  const headers = {
    "content-type": "application/json",
    "user-agent": "Picket",
    "webhook-id": message.id,
    "webhook-timestamp": String(Math.floor(nowMs / 1000)),
    "webhook-signature": new Webhook(to.secret).sign(message.id, new Date(nowMs), message.payload),
  };
  try {
    const response = await fetch(to.url, {
      method: "POST",
      headers,
      body: message.payload,
      redirect: "manual",
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    });
    // The answer's text is the receiver's: nothing in it concerns us, and it may not end.
    await response.body?.cancel();
    if (response.ok) return undefined;
    return failureOf(response, nowMs);
  } catch (error) {
    const timedOut = error instanceof DOMException && error.name === "TimeoutError";
    return { error: timedOut ? `no answer within ${TIMEOUT_MS / 1000} s` : reasonOf(error), rejected: false };
  }
}

function failureOf(response: Response, nowMs: number): Failure {
  const { status } = response;
  if (status >= 300 && status < 400)
    return { error: `HTTP ${status}: redirects are not followed; configure the final url`, rejected: false };
  const retryAfterMs = retryAfter(response.headers.get("retry-after"), nowMs);
  return {
    error: `HTTP ${status}`,
    rejected: [400, 413, 415, 422].includes(status),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

/** RFC 9110, section 10.2.3: seconds or a date. */
function retryAfter(value: string | null, nowMs: number): number | undefined {
  if (value === null) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - nowMs;
  return Number.isFinite(ms) && ms > 0 ? ms : undefined;
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "failed";
  const code = "code" in error && typeof error.code === "string" ? ` (${error.code})` : "";
  return `${error.message.slice(0, 200)}${code}`;
}
