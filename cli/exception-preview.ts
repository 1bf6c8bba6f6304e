// What an exception would have hidden, from the site's alerts and its log: before it is saved.
import { type PreviewOf, previewOf } from "@picket/detector/exceptions/preview";
import type { ExceptionPreview } from "@picket/protocol/exception";
import { builtinRules } from "@picket/rules/builtin";
import { conditionOf } from "@picket/rules/where";
import type { SiteClient } from "@picket/tui/client/client";
import { eventWords } from "@picket/tui/event-words";
import { Failure } from "./failure.ts";
import { siteLog } from "./site-log.ts";

/** Alerts looked at: the latest. */
const MAX_ALERTS = 1000;

/** Throws `Failure` (exit 2) with what is wrong with the conditions of an exception. */
export function checkWhere(where: PreviewOf["where"]): void {
  try {
    conditionOf(where);
  } catch (error) {
    throw new Failure(error instanceof Error ? error.message : String(error), "docs/sigma.md lists the fields of each kind of event.", 2);
  }
}

/** Reads what the site has stored since then. Ends early, with what it has, when `signal` aborts. Throws `Failure` or `SiteError`. */
export async function previewException(
  site: SiteClient,
  exception: PreviewOf,
  of: { sinceMs: number; signal: AbortSignal; told: (events: number, total: number) => void },
): Promise<ExceptionPreview> {
  checkWhere(exception.where);
  const { sinceMs, signal, told } = of;
  const [device] = exception.devices;
  const only = exception.devices.length === 1 ? device : undefined;
  const named = exception.rule.includes(":") || exception.rule === "*" ? {} : { rule: exception.rule };
  const { alerts } = await site.call("alerts", {
    query: { origin: "own", sinceMs, limit: MAX_ALERTS, ...named, ...(only === undefined ? {} : { device: only }) },
  });
  const preview = previewOf(exception, { alerts, rules: builtinRules(), words: eventWords });
  let total = 0;
  let seen = 0;
  for await (const { item, batch } of siteLog(site.access, { sinceMs, device: only }, signal)) {
    if (signal.aborted) break;
    if (item.kind === "range") total = item.events;
    if (item.kind !== "batch") continue;
    preview.take(batch);
    told(preview.events, total);
    // Ctrl-C, and keys of the console, are heard between batches.
    if (++seen % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  return preview.result({ sinceMs, total });
}
