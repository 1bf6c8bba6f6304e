import { type Alert, severities } from "@picket/protocol/alert";
import type { Incident } from "@picket/protocol/incident";
import type { Device } from "@picket/protocol/rest";
import { isDark, isolationOf } from "./words.ts";

// What an attacker gained, by technique, and so what isolation alone does not undo. Keys are ATT&CK technique ids without sub-technique.
// Each fits a row of 80 columns: they are read in a hurry.
const byTechnique: Record<string, string> = {
  T1003: "Change the credentials it read, also wherever they are used again.",
  T1027: "Read the whole command: the encoding is there to hide something.",
  T1053: "Look for what it scheduled (crontabs, timers): that would come back.",
  T1059: "Find what started the shell: its parent in the tree was broken into.",
  T1071: "Look for its peer on other devices: picket events --type net.connect",
  T1105: "Keep the downloaded file for analysis before anyone cleans up.",
  T1543: "Look for new services on the device; they start again at boot.",
  T1548: "Assume root on the device: rebuild it rather than clean it.",
  T1552: "Change the keys and passwords that lay in the files it read.",
};

/** What to do about an alert, most urgent first, in plain sentences: what cannot wait, and what follows once it is known to be real. */
export type Advice = { readonly now: readonly string[]; readonly later: readonly string[] };

/** How the reader does it: with the console's keys, or with commands. */
type Means = { readonly isolate: string; readonly release: string; readonly dismiss: string };

const keys: Means = {
  isolate: "Not expected? Isolate the device now with i; its line to the site stays.",
  release: "The device is isolated. Investigate, then release it with r.",
  dismiss: "Known and harmless? Close it with c; e keeps the like from alerting.",
};
/** On an incident's page, where `e` does nothing. */
const incidentKeys: Means = { ...keys, dismiss: "Known and harmless? Close it with c f; ↵ e keeps the like from alerting." };
const commands = ({ id, device }: Alert): Means => ({
  isolate: `Not expected? Isolate the device now: picket isolate ${device}`,
  release: `The device is isolated. Investigate, then: picket release ${device}`,
  dismiss: `Known and harmless? picket alert ${id.slice(0, 8)} close --false-positive --note WHY; so that the like does not alert: except instead of close`,
});

/** What the authors of the rules say, and what isolation does not undo. */
const MAX_TODOS = 3;

/** About an incident, from all its alerts: what the rules of the worst ones ask for first. */
export function incidentAdvice(
  incident: Pick<Incident, "id" | "device" | "severity" | "status" | "attack">,
  alerts: readonly Alert[],
  device: Device | undefined,
  on: "console" | "command line",
): Advice {
  const worst = alerts.toSorted((a, b) => severities.indexOf(b.severity) - severities.indexOf(a.severity) || b.score - a.score);
  if (worst.length > 0 && worst.every(({ rule }) => rule.engine === "broker")) return advice(worst[0]!, device, on);
  const means = on === "console" ? incidentKeys : incidentCommands(incident);
  const told = worst.flatMap(({ rule }) => rule.todo ?? []);
  const todos = [...new Set(told)].slice(0, MAX_TODOS);
  return adviceOf(incident, device, means, todos);
}

/** It is said once already, above the rest. */
const withoutIsolate = (todo: string): string => {
  const rest = todo.replace(/^Isolate the device(?:, then|;|\.) (?=\S)/, "");
  return rest.charAt(0).toUpperCase() + rest.slice(1);
};

const incidentCommands = ({ id, device }: Pick<Incident, "id" | "device">): Means => ({
  isolate: `Not expected? Isolate the device now: picket isolate ${device}`,
  release: `The device is isolated. Investigate, then: picket release ${device}`,
  dismiss: `Known and harmless? picket incident ${id.slice(0, 8)} close --false-positive --note WHY`,
});

/** `device` is as last known. `on` says whether the reader has the console's keys or a command line. */
export function advice(alert: Alert, device: Device | undefined, on: "console" | "command line"): Advice {
  if (alert.origin) return { now: elsewhere(alert.origin.site, on), later: [] };
  if (alert.rule.engine === "broker") return { now: aboutWatching(alert, device, on), later: [] };
  return adviceOf(alert, device, on === "console" ? keys : commands(alert), alert.rule.todo === undefined ? [] : [alert.rule.todo]);
}

function adviceOf(
  { severity, status, attack }: Pick<Alert, "severity" | "status" | "attack">,
  device: Device | undefined,
  means: Means,
  todos: readonly string[],
): Advice {
  const isolation = device ? isolationOf(device) : "no";
  const urgent = severity === "critical" || severity === "high";
  const now: string[] = [];
  if (isolation === "isolated") now.push(means.release);
  else if (isolation === "isolating") now.push("Isolation is ordered and not confirmed yet.");
  else if (urgent && status !== "closed") now.push(means.isolate);
  now.push(...(now.length > 0 ? todos.map(withoutIsolate) : todos));
  if (status === "open") now.push(means.dismiss);
  const later = new Set(attack.techniques.map((id) => byTechnique[id.split(".", 1)[0]!]));
  return { now, later: [...later].filter((step) => step !== undefined) };
}

/** Nothing here can act on a device of another site, and must not act on one of ours that is called the same. */
const elsewhere = (site: string, on: "console" | "command line"): string[] => [
  `This happened at the site ${site}: only its operators can act on the device.`,
  "Look for the same here: its rule, its programs and its destinations.",
  on === "console"
    ? "a and c settle it for this console; the other site does not hear of it."
    : "ack and close settle it for this site; the other does not hear of it.",
];

/** What to look at first, by what the broker noticed. Each fits a row of 80 columns. */
const byRule: Record<string, readonly string[]> = {
  "picket-broker-blackout": [
    "Look at what they share: power, switch, uplink, or somebody with a script.",
    "None can be seen until it is back; the list of devices says who is.",
  ],
  "picket-broker-killed": [
    "Its host was up: if nobody of you did it, somebody else has root there.",
    "On the device: journalctl -u picket-agent says whether it was killed.",
  ],
  "picket-broker-exception": [
    "Not yours, and nobody's you know? A stolen credential hides what it does.",
    "picket exceptions list shows them all; picket exceptions remove ends one.",
  ],
  "picket-broker-loss": ["What was lost cannot be searched or alerted on: its page says how much."],
};

function aboutWatching(alert: Alert, device: Device | undefined, on: "console" | "command line"): string[] {
  const first = byRule[alert.rule.id] ?? [];
  // It is about many, or about none, and has no page.
  if (alert.rule.id === "picket-broker-blackout" || alert.rule.id === "picket-broker-exception") return [...first];
  const page = on === "console" ? "its page (↵)" : `picket device ${alert.device}`;
  const dark = device && isDark(device);
  return [
    ...first,
    `About the watching itself: ${page} says what is off, lost or silent.`,
    ...(dark ? ["It is not seen now: check power, network, systemctl status picket-agent."] : []),
  ];
}
