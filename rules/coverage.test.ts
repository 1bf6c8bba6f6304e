import type { Capability } from "@picket/protocol/status";
import { expect, test } from "vitest";
import { coverageOf } from "./coverage.ts";
import { parseRules } from "./engine.ts";

const rule = (title: string, category: string, product = "linux") => ({
  file: `${title}.yml`,
  text: `title: ${title}\nid: 00000000-0000-4000-8000-0000000000${String(title.length).padStart(2, "0")}\nlogsource: { product: ${product}, category: ${category} }\ndetection: { a: [x], condition: a }\nlevel: low\n`,
});
const { rules, errors } = parseRules([
  rule("exec", "process_creation"),
  rule("files", "file_event"),
  rule("connections", "network_connection"),
  rule("logins", "login", "picket"),
  rule("the agent's end", "agent_stop", "picket"),
]);
const capability = (name: string, level: Capability["level"]): Capability => ({ name, level, why: "" });
const kinds = (capabilities: readonly Capability[]) =>
  Object.fromEntries(Object.entries(coverageOf(rules, capabilities)).map(([kind, list]) => [kind, list.map(({ title }) => title)]));

test("live with all, degraded with some or less, dead with none of the events a rule needs", () => {
  expect(errors).toEqual([]);
  expect(kinds([capability("sensor.exec", "live"), capability("sensor.file", "off"), capability("sensor.net", "degraded")])).toEqual({
    live: ["exec", "the agent's end"],
    degraded: ["connections"],
    dead: ["files", "logins"],
  });
});

test("a device that never said what it can do has nothing but what the agent says of itself", () => {
  expect(kinds([]).live).toEqual(["the agent's end"]);
});
