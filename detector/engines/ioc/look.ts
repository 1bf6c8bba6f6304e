// Which of an event's values can be on a list, and how to say so.
import type { EventType, SensorEvent } from "@picket/protocol/event";
import { baseName } from "../../text.ts";
import { type Named, namedIn } from "./hosts.ts";
import type { Asked, IocIndex, Listed } from "./index.ts";

/** `how`: what was seen of it, to be followed by the indicator's value; undefined where what the event itself says is it. */
export type Found = { readonly listed: Listed; readonly how: string | undefined };

type Lookup = { readonly index: IocIndex; readonly asked: Asked; found: Found[] | undefined };

/** What of an event is on a list; undefined when nothing is. The most direct sign first. */
export function look(index: IocIndex, event: SensorEvent, asked: Asked): Found[] | undefined {
  const at: Lookup = { index, asked, found: undefined };
  switch (event.type) {
    case "net.connect":
      host(at, event.body.net.dstIp, undefined);
      break;
    case "net.accept":
      host(at, event.body.net.srcIp, undefined);
      break;
    case "net.dns":
      note(at, index.domain(event.body.net.query, asked), undefined);
      break;
    case "auth.login":
      if (event.body.remoteIp !== undefined) host(at, event.body.remoteIp, undefined);
      break;
    case "auth.sudo":
      named(at, [event.body.command]);
      break;
    case "process.exec":
      started(at, event.body);
      break;
    case "file.create":
    case "file.modify":
      path(at, event.body.file.path, undefined);
      break;
    case "file.rename":
      path(at, event.body.file.to, undefined);
      break;
    case "file.hash":
      note(at, index.sha256(event.body.file.sha256, asked), undefined);
      break;
  }
  return at.found;
}

/** Types of events that `look` looks at. */
export const lookedAt: ReadonlySet<EventType> = new Set<EventType>([
  "net.connect",
  "net.accept",
  "net.dns",
  "auth.login",
  "auth.sudo",
  "process.exec",
  "file.create",
  "file.modify",
  "file.rename",
  "file.hash",
]);

type Exec = Extract<SensorEvent, { type: "process.exec" }>["body"];

function started(at: Lookup, { process, stdio }: Exec): void {
  if (process.sha256 !== undefined) note(at, at.index.sha256(process.sha256, at.asked), "ran a file with the SHA-256");
  path(at, process.exe, "ran");
  if (stdio) host(at, stdio.ip, "had its input or output connected to");
  named(at, process.argv);
}

function named(at: Lookup, argv: readonly string[]): void {
  const { index } = at;
  lookup = at;
  if (index.has("url")) namedIn(argv, hear);
  else if (index.has("domain") || index.has("address")) namedIn(argv, hearHosts);
}

// One listener for all events: none is made for each.
let lookup: Lookup | undefined;
const hearHosts: Named = { host: (name) => host(lookup!, name, "was given the host") };
const hear: Named = {
  ...hearHosts,
  url: (url) => note(lookup!, lookup!.index.text("url", url, lookup!.asked), "was given the URL"),
};

function host(at: Lookup, name: string, how: string | undefined): void {
  const first = name.charCodeAt(0);
  const isAddress = (first >= 48 && first <= 57) || name.includes(":");
  const listed = isAddress ? at.index.address(name, at.asked) : undefined;
  note(at, listed ?? (name.includes(":") ? undefined : at.index.domain(name, at.asked)), how);
}

function path(at: Lookup, value: string, how: string | undefined): void {
  const { index, asked } = at;
  note(at, index.text("path", value, asked) ?? (index.has("name") ? index.text("name", baseName(value), asked) : undefined), how);
}

/** An event names an indicator once. */
function note(at: Lookup, listed: Listed | undefined, how: string | undefined): void {
  if (!listed) return;
  const found = at.found ?? [];
  if (!found.some((one) => one.listed.kind === listed.kind && one.listed.value === listed.value)) found.push({ listed, how });
  at.found = found;
}
