// All the console knows and shows, as plain data. reduce.ts is the only place that makes a new one.
import type { Alert, AlertRecurrence, AlertVerdict } from "@picket/protocol/alert";
import type { Act } from "@picket/protocol/command";
import type { SensorEvent } from "@picket/protocol/event";
import type { ExceptionPreview, ExceptionRequest, Where } from "@picket/protocol/exception";
import type { Incident } from "@picket/protocol/incident";
import type { Ledger } from "@picket/protocol/ledger";
import type { CommandRecord, Device, SiteStatus, StreamItem } from "@picket/protocol/rest";
import type { CommandOutcome } from "../words.ts";

export type Connection =
  | { readonly state: "connecting" }
  | { readonly state: "live" }
  | { readonly state: "lost"; readonly sinceMs: number; readonly why: string; readonly hint: string | undefined };

export type ListName = "incidents" | "devices" | "alerts";
export type View =
  | { readonly kind: "incidents" }
  | { readonly kind: "incident"; readonly id: string }
  | { readonly kind: "alerts" }
  | { readonly kind: "devices" }
  | { readonly kind: "alert"; readonly id: string }
  | { readonly kind: "device"; readonly id: string };

/** What the console can order. */
export type NetworkAct = Exclude<Act, "scan">;

/** A question that takes all keys until it is answered. What it acts on was fixed when it was asked. */
export type Prompt =
  | { readonly kind: "order"; readonly act: NetworkAct; readonly device: string; readonly reason: string; readonly typed: string }
  /** `incident`: what is judged is one, and `alert` its id. */
  | { readonly kind: "note"; readonly alert: string; readonly incident?: true; readonly typed: string }
  /** Text to look for in the list of incidents. */
  | { readonly kind: "find"; readonly typed: string }
  /** What the alert was; `typed` is a note about it. Nothing is closed before a verdict was chosen. */
  | {
      readonly kind: "close";
      readonly alert: string;
      readonly incident?: true;
      readonly title: string;
      readonly verdict: AlertVerdict | undefined;
      readonly typed: string;
    }
  /** An exception made from an alert: first its conditions, then the reason (`typed`), then what it would have hidden. */
  | {
      readonly kind: "exception";
      readonly alert: string;
      readonly title: string;
      readonly rule: string;
      readonly where: Where;
      readonly dropped: readonly string[];
      readonly device: string;
      readonly allDevices: boolean;
      readonly days: number;
      readonly step: "shape" | "reason" | "preview";
      readonly typed: string;
      readonly outcome: PreviewOutcome;
    };

/** What a preview has come to. */
export type PreviewOutcome =
  | { readonly state: "looking"; readonly events: number; readonly total: number }
  | { readonly state: "known"; readonly preview: ExceptionPreview }
  | { readonly state: "failed"; readonly why: string };

/** What the dialog would save. */
export const draftOf = ({
  rule,
  where,
  dropped,
  device,
  allDevices,
}: Extract<Prompt, { kind: "exception" }>): Pick<ExceptionRequest, "rule" | "where" | "devices"> => ({
  rule,
  where: Object.fromEntries(Object.entries(where).filter(([key]) => !dropped.includes(key))),
  devices: allDevices ? [] : [device],
});

/** An order on its way, or how the last one ended. */
export type Job = {
  readonly key: number;
  readonly act: NetworkAct;
  readonly device: string;
  readonly startedMs: number;
  readonly outcome: CommandOutcome;
  readonly words: string;
  /** When it was done or had failed. */
  readonly endedMs?: number;
};

/** The events of an alert as they were at one of its revisions, or why they cannot be read. */
export type Evidence =
  | { readonly events: readonly SensorEvent[]; readonly revision: number; readonly seen?: AlertRecurrence | undefined }
  | { readonly error: string };

export type Message = { readonly tone: "good" | "bad" | "plain"; readonly text: string };

export type ConsoleState = {
  readonly nowMs: number;
  readonly connection: Connection;
  /** When the site last said anything. */
  readonly dataMs: number | undefined;
  readonly site: SiteStatus | undefined;
  readonly incidents: ReadonlyMap<string, Incident>;
  readonly alerts: ReadonlyMap<string, Alert>;
  readonly devices: ReadonlyMap<string, Device>;
  /** The top one is shown. Never empty. */
  readonly views: readonly View[];
  /** A row of the list of incidents: an incident, or an alert of another site. */
  readonly selectedIncident: string | undefined;
  /** On the page of an incident. */
  readonly selectedOfIncident: string | undefined;
  /** What the list of incidents is narrowed to; "" for nothing. */
  readonly find: string;
  readonly selectedAlert: string | undefined;
  readonly selectedDevice: string | undefined;
  readonly showClosed: boolean;
  /** Alerts of other sites are not listed. */
  readonly hideMesh: boolean;
  /** First row shown of a detail view, and whether its long rows are wrapped. */
  readonly scroll: number;
  readonly wrapped: boolean;
  readonly evidence: ReadonlyMap<string, Evidence>;
  readonly history: ReadonlyMap<string, readonly CommandRecord[]>;
  readonly ledgers: ReadonlyMap<string, Ledger>;
  readonly prompt: Prompt | undefined;
  readonly jobs: readonly Job[];
  readonly message: Message | undefined;
};

export type Happened =
  | {
      readonly kind: "snapshot";
      readonly site: SiteStatus;
      readonly devices: readonly Device[];
      readonly incidents?: readonly Incident[];
      readonly alerts: readonly Alert[];
      readonly nowMs: number;
    }
  | { readonly kind: "items"; readonly items: readonly StreamItem[]; readonly nowMs: number }
  | { readonly kind: "lost"; readonly why: string; readonly hint: string | undefined; readonly nowMs: number }
  | { readonly kind: "tick"; readonly nowMs: number }
  | { readonly kind: "evidence"; readonly alert: string; readonly evidence: Evidence }
  | { readonly kind: "history"; readonly device: string; readonly commands: readonly CommandRecord[]; readonly ledger?: Ledger | undefined }
  | { readonly kind: "preview"; readonly alert: string; readonly outcome: PreviewOutcome }
  | { readonly kind: "job"; readonly job: Job }
  | { readonly kind: "say"; readonly message: Message };

export type Asked =
  | { readonly kind: "list"; readonly list: ListName }
  | { readonly kind: "open"; readonly view: View }
  | { readonly kind: "back" }
  /** In a list: the selection, by rows. In a detail view: the text. `last` is the highest first row there. */
  | { readonly kind: "move"; readonly by: number; readonly last?: number }
  /** Selects an alert on the page of an incident, which then shows from row `scroll` on. */
  | { readonly kind: "choose"; readonly alert: string; readonly scroll: number }
  | { readonly kind: "find"; readonly text: string }
  | { readonly kind: "toggle-closed" }
  | { readonly kind: "toggle-mesh" }
  | { readonly kind: "toggle-wrap" }
  | { readonly kind: "ask"; readonly prompt: Prompt }
  | { readonly kind: "type"; readonly text: string }
  | { readonly kind: "erase" }
  | { readonly kind: "cancel" }
  | { readonly kind: "dismiss" };

export type Step = Happened | Asked;

export function initialState(nowMs: number): ConsoleState {
  return {
    nowMs,
    connection: { state: "connecting" },
    dataMs: undefined,
    site: undefined,
    incidents: new Map(),
    alerts: new Map(),
    devices: new Map(),
    views: [{ kind: "incidents" }],
    selectedIncident: undefined,
    selectedOfIncident: undefined,
    find: "",
    selectedAlert: undefined,
    selectedDevice: undefined,
    showClosed: false,
    hideMesh: false,
    scroll: 0,
    wrapped: false,
    evidence: new Map(),
    history: new Map(),
    ledgers: new Map(),
    prompt: undefined,
    jobs: [],
    message: undefined,
  };
}

export const viewOf = (state: ConsoleState): View => state.views.at(-1) ?? { kind: "incidents" };
