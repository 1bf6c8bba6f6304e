// Making and ending exceptions: each is told to everybody as an alert, so that nobody hides anything alone.
import type { Severity } from "@picket/protocol/alert";
import { type Exception, type ExceptionRequest, isWide, MAX_EXCEPTIONS } from "@picket/protocol/exception";
import { raise } from "./broker-alert.ts";
import type { Changes } from "./changes.ts";
import { Refused } from "./refused.ts";
import { getAlert, noteExcepted } from "./store/alerts.ts";
import type { Store } from "./store/database.ts";
import { getDevice } from "./store/devices.ts";
import { addException, countHolding, endException, getException, listExceptions, trimExceptions } from "./store/exceptions.ts";
import { nextOffset } from "./store/log.ts";

/** Ended ones stay in the list for so long. */
const LISTED_MS = 14 * 86_400_000;

export type ExceptionPorts = {
  readonly site: string;
  readonly store: Store;
  readonly changes: Changes;
  readonly nowMs: () => number;
  /** The detector is to hear of it. */
  readonly changed: () => void;
};

export type ExceptionsPort = {
  list(all: boolean): Exception[];
  get(id: number): Exception | undefined;
  /** On disk when it resolves. Throws `Refused`. */
  add(request: ExceptionRequest, operator: string): Promise<Exception>;
  remove(id: number, operator: string): Promise<Exception | undefined>;
};

export function exceptionsOf({ site, store, changes, nowMs, changed }: ExceptionPorts): ExceptionsPort {
  return {
    list: (all) => listExceptions(store, { sinceMs: all ? 0 : nowMs() - LISTED_MS, nowMs: nowMs() }),
    get: (id) => getException(store, id, nowMs()),
    add: async (request, operator) => {
      const { exception, alerts } = await store.commitSoon(() => {
        const atMs = nowMs();
        check(store, request, atMs);
        trimExceptions(store, atMs);
        // Where the log ends is asked in the transaction that stores it: no batch is before it for one and after it for another.
        const exception = addException(store, { ...request, operator, nowMs: atMs, fromOffset: nextOffset(store) });
        const told = raise(store, {
          site,
          rule: "exception",
          device: site,
          add: 1,
          nowMs: atMs,
          anchorMs: exception.createdMs,
          ...words(exception),
        });
        if (request.alert !== undefined) noteExcepted(store, request.alert, { id: exception.id, operator, nowMs: atMs });
        return { exception, alerts: [told.id, ...(request.alert === undefined ? [] : [request.alert])] };
      });
      changed();
      for (const [at, id] of alerts.entries()) changes.tell({ kind: "alert", id, created: at === 0 });
      return exception;
    },
    remove: async (id, operator) => {
      const exception = await store.commitSoon(() => endException(store, id, { operator, nowMs: nowMs(), endOffset: nextOffset(store) }));
      changed();
      return exception;
    },
  };
}

function check(store: Store, { devices, alert }: ExceptionRequest, nowMs: number): void {
  const unknown = devices.find((device) => getDevice(store, device) === undefined);
  if (unknown !== undefined) throw new Refused("not-found", `There is no device "${unknown}" at this site`, "`picket devices` lists them");
  const from = alert === undefined ? undefined : getAlert(store, alert);
  if (alert !== undefined && !from) throw new Refused("not-found", `There is no alert ${alert}`, "`picket alerts` lists them");
  if (from?.origin)
    throw new Refused(
      "conflict",
      `This alert was made at the site "${from.origin.site}": an exception here would not change it`,
      "Ask its operators, or mute the peer: `picket mesh mute`",
    );
  if (countHolding(store, nowMs) >= MAX_EXCEPTIONS)
    throw new Refused(
      "conflict",
      `This site holds ${MAX_EXCEPTIONS} exceptions, which is as many as there may be`,
      "Remove what is not used: `picket exceptions list`; what needs so many is a rule to be changed",
    );
}

/** The wider it is, the louder it is told. */
function words({ id, rule, where, devices, reason, operator, expiresMs }: Exception): {
  severity: Severity;
  score: number;
  summary: () => string;
} {
  const severity = isWide(rule) ? "high" : devices.length === 0 ? "medium" : "low";
  const of = Object.entries(where).map(([key, values]) => `${key} ${values.join(" or ")}`);
  const on = devices.length === 0 ? "all devices" : devices.join(", ");
  const text = `${operator} excepted rule ${rule} on ${on}${of.length > 0 ? ` where ${of.join(" and ")}` : ""} until ${new Date(expiresMs).toISOString()}: ${reason} (exception ${id})`;
  const summary = text
    .replaceAll(/\p{Control}/gu, "�")
    .slice(0, 1000)
    .toWellFormed();
  return { severity, score: { low: 20, medium: 40, high: 65 }[severity], summary: () => summary };
}
