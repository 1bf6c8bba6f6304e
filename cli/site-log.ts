// The site's stored batches, over its REST interface.
import { LOG_PATH, type LogFrame, readLogFrames } from "@picket/protocol/log-stream";
import { Problem } from "@picket/protocol/rest";
import type { SiteAccess } from "@picket/tui/client/access";
import { asSiteError, SiteError } from "@picket/tui/client/site-error";

/** A site that sends nothing for so long is gone. */
const SILENCE_MS = 60_000;

/** Streams what is stored, oldest first, as fast as it is taken. Throws `SiteError`; ends quietly when `signal` aborts. */
export async function* siteLog(
  access: SiteAccess,
  query: { sinceMs: number; device: string | undefined },
  signal: AbortSignal,
): AsyncGenerator<LogFrame> {
  const url = new URL(LOG_PATH, access.url);
  url.searchParams.set("sinceMs", String(query.sinceMs));
  if (query.device !== undefined) url.searchParams.set("device", query.device);
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(new DOMException("no answer", "TimeoutError")), SILENCE_MS);
  try {
    const answer = await fetch(url, {
      headers: { authorization: `Bearer ${access.token}` },
      signal: AbortSignal.any([signal, silence.signal]),
      timeout: false,
      // Said again for each request: NODE_TLS_REJECT_UNAUTHORIZED=0 must not switch the check off.
      tls: { ca: access.ca, rejectUnauthorized: true },
    } as RequestInit);
    if (!answer.ok || !answer.body) throw await refusal(answer);
    let ended = false;
    for await (const frame of readLogFrames(answer.body)) {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(new DOMException("no answer", "TimeoutError")), SILENCE_MS);
      ended = frame.item.kind === "end";
      yield frame;
    }
    if (!ended) throw new Error("the site ended the log before its end");
  } catch (error) {
    if (!signal.aborted) throw asSiteError(error, url.href);
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

async function refusal(answer: Response): Promise<SiteError> {
  const problem = Problem.safeParse(await answer.json().catch(() => undefined));
  const kind = answer.status === 401 || answer.status === 403 ? "credential" : "refused";
  if (!problem.success)
    return new SiteError({ kind, status: answer.status, title: `the site answered ${answer.status}`, detail: LOG_PATH });
  const { title, detail, hint } = problem.data;
  return new SiteError({ kind, status: answer.status, title, detail, hint });
}
