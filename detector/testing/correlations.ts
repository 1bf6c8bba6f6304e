// Correlations by the real parser over programs whose name is the rule's, and streams of events for them.
import type { SensorEvent } from "@picket/protocol/event";
import { compileRules, parseRules } from "@picket/rules/engine";
import { createPipeline, type Pipeline } from "../pipeline.ts";
import { proc, T0 } from "./events.ts";

const rule = (name: string) =>
  `title: Runs ${name}\nid: ${name}-id\nname: ${name}\nlogsource: { product: linux, category: process_creation }\ndetection: { s: { Image|endswith: /${name} }, condition: s }\nlevel: low\n`;

/** Rules a, b and c, by program; refused logins as `login`; and correlations whose bodies are given by id. */
export function correlationsOf(bodies: Readonly<Record<string, string>>) {
  const texts = Object.entries(bodies).map(
    ([id, body]) =>
      `title: Correlation ${id}\nid: ${id}\nname: ${id}\nlevel: high\nauthor: A. Uthor\ntags: [attack.credential-access, attack.t1110]\ncorrelation: ${body}\n`,
  );
  const login = `title: Refused\nid: login-id\nname: login\nlogsource: { product: picket, category: login }\ndetection: { s: { Success: "false" }, condition: s }\nlevel: low\n`;
  const { rules, correlations, errors } = parseRules([
    { file: "c.yml", text: [rule("a"), rule("b"), rule("c"), login, ...texts].join("---\n") },
  ]);
  if (errors.length > 0 || correlations.length !== texts.length) throw new Error(JSON.stringify(errors));
  return { rules, correlations, matcher: compileRules(rules) };
}

export const correlating = (bodies: Readonly<Record<string, string>>): Pipeline =>
  createPipeline({ site: "lab", ...correlationsOf(bodies), warmUpExecs: 0 });

/** Ids rise with each event of a device. */
export function stream() {
  const next = new Map<string, number>();
  const envelope = (device: string, atMs: number) => {
    const seq = next.get(device) ?? 0;
    next.set(device, seq + 1);
    return { v: 1 as const, device, epoch: "abcdefgh", seq, timeMs: T0 + atMs };
  };
  return {
    runs: (name: string, atMs: number, user = "root", device = "gw-1"): SensorEvent => ({
      ...envelope(device, atMs),
      type: "process.exec",
      body: { process: proc(100, `/bin/${name}`, { user }) },
    }),
    refused: (user: string, remoteIp: string, atMs: number, device = "gw-1"): SensorEvent => ({
      ...envelope(device, atMs),
      type: "auth.login",
      body: { user, remoteIp, method: "password", ok: false },
    }),
  };
}
