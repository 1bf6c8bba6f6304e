// What the API needs from the rest of the broker. Handlers only translate between HTTP and these; main.ts fills them.
import type { Alert, AlertRecurrence, AlertStatus, AlertVerdict, Severity } from "@picket/protocol/alert";
import type { EnrolRequest, EnrolResponse, RenewRequest, RenewResponse } from "@picket/protocol/enroll";
import type { Incident } from "@picket/protocol/incident";
import type { Ledger } from "@picket/protocol/ledger";
import type { Ioc, MeshJoinRequest, MeshJoinResponse, MeshPeer, MeshStatus, SharedVerdict } from "@picket/protocol/mesh";
import type { PackRecord } from "@picket/protocol/pack";
import type { ReleaseFile, Trust } from "@picket/protocol/release";
import type { CommandRecord, Device, Finding, SinkStatus, SiteStatus } from "@picket/protocol/rest";
import type { SampleShown } from "@picket/protocol/sample-routes";
import type { Change } from "../changes.ts";
import type { ExceptionsPort } from "../exceptions.ts";
import type { IocsPort } from "../iocs.ts";
import type { RulesList } from "../rules.ts";
import type { VitalSigns } from "../vitals.ts";
import type { LogPort } from "./events.ts";

type Awaitable<T> = T | Promise<T>;

/** Whose credential a request carries. */
export type Operator = { readonly id: number; readonly name: string };

/** `severity` means this and above; `technique` includes its sub-techniques. */
export type AlertFilter = {
  readonly severity?: Severity | undefined;
  readonly technique?: string | undefined;
  readonly device?: string | undefined;
  readonly rule?: string | undefined;
  readonly status?: AlertStatus | undefined;
  readonly sinceMs?: number | undefined;
  readonly origin?: "all" | "own" | "mesh" | undefined;
  readonly limit: number;
};

/** What an operator decides about an alert; what is left out stays. */
export type Judgement = {
  readonly status?: AlertStatus | undefined;
  readonly verdict?: AlertVerdict | undefined;
  readonly assignee?: string | undefined;
  readonly note?: string | undefined;
};

/** What `doctor` asks of the machine the broker runs on. */
export type HostFacts = {
  /** End of the broker's own certificate. */
  readonly certificateExpiresMs: number;
  /** The file system that holds the site's database. */
  readonly disk: { readonly freeBytes: number; readonly totalBytes: number };
};

/** What tells whether events flow. */
export type HealthFacts = {
  readonly nowMs: number;
  readonly startedMs: number;
  readonly version: string;
  readonly certificateExpiresMs: number;
  readonly outage: { readonly sinceMs: number; readonly why: string } | undefined;
  readonly online: number;
  /** When events were last stored; undefined since the start. */
  readonly storedMs: number | undefined;
  /** The shortest pause of a canary of a device that is there, seconds. */
  readonly canaryS: number | undefined;
};

/** What both doctor and metrics are told from. */
export type SiteFacts = {
  readonly nowMs: number;
  readonly site: SiteStatus;
  readonly devices: readonly Device[];
  readonly host: HostFacts;
  readonly intake: IntakeFacts;
  readonly peers: readonly MeshPeer[];
};

/** How what devices send comes in, or does not. */
export type IntakeFacts = {
  /** Since when events wait on their devices, and why. */
  readonly outage: { readonly sinceMs: number; readonly why: string } | undefined;
  /** Devices above their quota, or that connect too often; counts since the broker started. */
  readonly throttled: readonly {
    readonly device: string;
    readonly forMs: number;
    readonly delayed: number;
    readonly refusedConnections: number;
  }[];
  /** Of all devices, since the broker started: messages that waited for their quota, and connections refused. */
  readonly quota: { readonly delayed: number; readonly refusedConnections: number };
  /** Devices that sent something unreadable, the latest first. */
  readonly deadLetters: readonly {
    readonly device: string;
    readonly count: number;
    readonly lastMs: number;
    readonly lastTopic: string;
    readonly lastReason: string;
  }[];
  /** Events that retention let go, and of them those the detector had not read. */
  readonly letGo: { readonly events: number; readonly unread: number };
  /** Alerts kept, open and closed. */
  readonly alerts: number;
};

/** Peers of this site, and what came from them. */
export type MeshPort = {
  status(): MeshStatus;
  invite(of: { ttlS: number; host?: string | undefined; operator: string }): { token: string; expiresMs: number };
  join(of: { token: string; operator: string }): Promise<{ site: string }>;
  /** Called by another site's broker. */
  accept(request: MeshJoinRequest): Promise<MeshJoinResponse>;
  change(site: string, change: { muted?: boolean | undefined; itemsPerS?: number | null | undefined }): MeshPeer | undefined;
  remove(site: string): Promise<boolean>;
  shareIoc(ioc: Ioc): Promise<void>;
  iocs(limit: number): (Ioc & { origin: string; via: string })[];
  verdicts(sha256: string): (SharedVerdict & { origin: string; via: string })[];
};

/** Any of these may throw `Refused`, whose text reaches the caller; any other error becomes a bare 500 and goes to `report`. */
export type ApiDeps = {
  readonly version: string;
  readonly nowMs: () => number;
  /** Faults of ours, to be logged. */
  readonly report: (error: unknown) => void;
  readonly credentials: { find(token: string): Operator | undefined; isValid(id: number): boolean };
  readonly siteStatus: () => SiteStatus;
  readonly hostFacts: () => Awaitable<HostFacts>;
  readonly intake: () => IntakeFacts;
  readonly health: () => HealthFacts;
  readonly vitals: () => VitalSigns;
  /** Whether this token is the one `broker.metrics.tokenSha256` lets read `/metrics`. */
  readonly mayScrape: (token: string) => boolean;
  readonly enrolment: {
    /** The site CA, PEM. */
    ca(): string;
    enroll(request: EnrolRequest): Promise<EnrolResponse>;
    renew(request: RenewRequest): Promise<RenewResponse>;
    createToken(of: { ttlS: number; uses: number; operator: string }): Awaitable<{ token: string; expiresMs: number }>;
  };
  readonly installer: {
    /** The anchor and the newest key list. */
    trust(): Trust;
    /** The signed release, JWS; undefined where there is none. */
    release(): string | undefined;
    /** A file of the release, to be read from its beginning; undefined where there is none. */
    file(name: ReleaseFile): { readonly path: string; readonly sizeBytes: number } | undefined;
  };
  readonly devices: {
    list(): Device[];
    get(id: string): Device | undefined;
    /** Enters what has just arrived, so that the next figures hold it. */
    upToDate(): Promise<void>;
    /** By how much each device's clock is ahead of the site's, milliseconds, as of its last heartbeat. */
    clocks(): ReadonlyMap<string, number>;
    /** What became of everything the device caused, with the hours since then. */
    ledger(id: string, sinceMs: number): Ledger;
    /** Revokes the certificates and closes the connection. */
    revoke(id: string, operator: string): Awaitable<void>;
  };
  readonly alerts: {
    list(filter: AlertFilter): Alert[];
    get(id: string): Alert | undefined;
    /** How often the same thing was seen in all. */
    seen(id: string): AlertRecurrence | undefined;
    judge(id: string, judgement: Judgement, operator: string): Awaitable<Alert | undefined>;
  };
  readonly incidents: {
    list(filter: Pick<AlertFilter, "severity" | "device" | "status" | "sinceMs" | "limit">): Incident[];
    get(id: string): Incident | undefined;
    /** With its alerts, oldest first. */
    read(id: string): { incident: Incident; alerts: Alert[] } | undefined;
    judge(id: string, judgement: Judgement, operator: string): Awaitable<Incident | undefined>;
    /** Of an alert of this site. */
    ofAlert(id: string): string | undefined;
  };
  readonly log: LogPort;
  readonly commands: {
    /** Stores and sends. */
    submit(of: { device: string; jws: string; operator: string }): Promise<CommandRecord>;
    get(jti: string): CommandRecord | undefined;
    /** Newest first. */
    ofDevice(device: string): CommandRecord[];
  };
  readonly keys: { put(jws: string, operator: string): Promise<{ version: number }> };
  /** `put` stores and sends. */
  readonly rules: { list(): RulesList; findings(): Finding[] };
  readonly packs: { list(): PackRecord[]; put(jws: string, operator: string): Promise<PackRecord> };
  readonly exceptions: ExceptionsPort;
  readonly iocs: IocsPort;
  readonly samples: { shown(sha256: string): SampleShown };
  readonly sinks: { status(): SinkStatus[]; test(name: string): Promise<{ ok: boolean; detail: string } | undefined> };
  readonly mesh: MeshPort;
  readonly changes: { listen(listener: (change: Change) => void): Disposable };
};
