import { expect, test } from "vitest";
import { roles } from "./names.ts";
import { mayPublish, maySubscribe, type Peer, parseTopic, type TopicName, topic, topics } from "./topics.ts";

const names = Object.keys(topics) as TopicName[];
const device: Peer = { role: "device", name: "gw-014", site: "north" };
const detector: Peer = { role: "detector", name: "detector", site: "north" };
const publish = (peer: Peer, wire: string, more = {}) => mayPublish(peer, { topic: wire, retain: false, payloadBytes: 10, ...more });

test.each(names)("%s: what is built is parsed back", (name) => {
  const wire = topic(name, "north", "gw-014");
  const holder = wire.includes("/mesh/") ? { peer: "gw-014" } : wire.includes("/d/") ? { device: "gw-014" } : {};
  expect(parseTopic(wire)).toEqual({ name, site: "north", ...holder });
});

test.each([
  "",
  "picket/v1",
  "picket/v1/north/d/gw-014",
  "picket/v1/north/d/+/events",
  "picket/v1/#",
  "picket/v2/north/feed/want",
  "picket/v1/north/d/gw-014/events/",
  "/picket/v1/north/feed/want",
  "picket/v1/north/d//events",
  "picket/v1/<site>/feed/want",
  "picket/v1/mesh",
  "picket/v1/mesh/north",
  "picket/v1/mesh/north/south/sideways",
  "picket/v1/mesh/d/gw-014/events",
  "picket/v1/mesh/feed/want",
  "picket/v1/north/d/gw-014/up",
])("%j is none of ours", (wire) => {
  expect(parseTopic(wire)).toBeUndefined();
});

test.each(roles)("%s: may publish and subscribe exactly what the table says", (role) => {
  const peer: Peer = { role, name: "gw-014", site: "north" };
  for (const name of names) {
    const wire = topic(name, "north", "gw-014");
    expect(publish(peer, wire), `publish ${wire}`).toBe(topics[name].publish === role);
    expect(maySubscribe(peer, wire), `subscribe ${wire}`).toBe(topics[name].subscribe === role);
  }
});

test.each([
  ["another device", topic("events", "north", "gw-015")],
  ["another site", topic("events", "south", "gw-014")],
  ["what only the broker says", topic("cmd", "north", "gw-014")],
  ["the feed", topic("want", "north")],
])("a device may not publish as %s", (_, wire) => {
  expect(publish(device, wire)).toBe(false);
});

test("never retained, never larger than the table says", () => {
  const wire = topic("status", "north", "gw-014");
  expect(publish(device, wire, { retain: true })).toBe(false);
  expect(publish(device, wire, { payloadBytes: topics.status.maxBytes })).toBe(true);
  expect(publish(device, wire, { payloadBytes: topics.status.maxBytes + 1 })).toBe(false);
});

test.each([
  "#",
  "+/#",
  "picket/#",
  "picket/v1/north/d/gw-014/#",
  "picket/v1/north/d/gw-014/+",
  "$SYS/#",
  "picket/v1/north/d/gw-015/cmd",
  "picket/v1/south/d/gw-014/cmd",
  "$share/g/picket/v1/north/d/gw-014/cmd",
])("a device may not subscribe to %s", (filter) => {
  expect(maySubscribe(device, filter)).toBe(false);
});

test("the detector reads the feed of its own site only", () => {
  expect(maySubscribe(detector, topic("data", "north"))).toBe(true);
  expect(maySubscribe(detector, topic("data", "south"))).toBe(false);
});

test("a name that is no label throws", () => {
  expect(() => topic("events", "north", "a/b")).toThrow();
  expect(() => topic("events", "#", "a")).toThrow();
});

test("a peer site speaks and hears under its own name only, and nothing but the mesh", () => {
  const south: Peer = { role: "site", name: "south", site: "north" };
  expect(publish(south, topic("meshUp", "north", "south"))).toBe(true);
  expect(publish(south, topic("meshUp", "north", "east"))).toBe(false);
  expect(publish(south, topic("meshUp", "south", "south"))).toBe(false);
  expect(publish(south, topic("meshDown", "north", "south"))).toBe(false);
  expect(maySubscribe(south, topic("meshDown", "north", "south"))).toBe(true);
  expect(maySubscribe(south, topic("meshDown", "north", "east"))).toBe(false);
  for (const name of names.filter((one) => !one.startsWith("mesh"))) {
    expect(publish(south, topic(name, "north", "south")), name).toBe(false);
    expect(maySubscribe(south, topic(name, "north", "south")), name).toBe(false);
  }
});

test("no site is called mesh", () => {
  expect(() => topic("want", "mesh")).toThrow(/but not .*mesh/);
});

test("what a peer publishes the broker takes in and reaches nobody: broker/mqtt forwards none of it", () => {
  for (const [name, row] of Object.entries(topics)) if (row.publish !== "broker") expect(row.subscribe, name).toBe("nobody");
});
