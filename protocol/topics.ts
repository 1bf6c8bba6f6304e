// The one table of MQTT topics: builder, parser, who may publish and subscribe, QoS, retain and size. The broker's ACL is generated from it.
import { MAX_BATCH_BYTES } from "./batch-encode.ts";
import { MAX_MESH_BYTES } from "./mesh-limits.ts";
import { deviceId, type Role, siteId } from "./names.ts";
import { MAX_CHUNK_BYTES } from "./samples.ts";

type Party = Role | "broker";
type Row = {
  readonly path: string;
  readonly publish: Party;
  /** Nobody: the broker takes it in before forwarding, and forwards it to no one. */
  readonly subscribe: Role | "nobody";
  readonly qos: 0 | 1;
  readonly retain: false;
  readonly maxBytes: number;
};

const row = (path: string, publish: Party, subscribe: Row["subscribe"], maxBytes: number): Row => ({
  path,
  publish,
  subscribe,
  qos: 1,
  retain: false,
  maxBytes,
});

/** `<site>`, `<device>` and `<peer>` (a site that dials this one) stand for one level each. No telemetry and no command has a row in the mesh. */
export const topics = {
  events: row("picket/v1/<site>/d/<device>/events", "device", "nobody", MAX_BATCH_BYTES),
  status: row("picket/v1/<site>/d/<device>/status", "device", "nobody", 64 << 10),
  result: row("picket/v1/<site>/d/<device>/result", "device", "nobody", 16 << 10),
  cmd: row("picket/v1/<site>/d/<device>/cmd", "broker", "device", 16 << 10),
  pack: row("picket/v1/<site>/d/<device>/pack", "broker", "device", 256 << 10),
  sample: row("picket/v1/<site>/d/<device>/sample", "device", "nobody", MAX_CHUNK_BYTES + 1024),
  sampleWant: row("picket/v1/<site>/d/<device>/want", "broker", "device", 1024),
  want: row("picket/v1/<site>/feed/want", "detector", "nobody", 128 << 10),
  data: row("picket/v1/<site>/feed/data", "broker", "detector", MAX_BATCH_BYTES + (1 << 20)),
  commit: row("picket/v1/<site>/feed/commit", "detector", "nobody", 8 << 20),
  meshUp: row("picket/v1/mesh/<site>/<peer>/up", "site", "nobody", MAX_MESH_BYTES),
  meshDown: row("picket/v1/mesh/<site>/<peer>/down", "broker", "site", MAX_MESH_BYTES),
} as const satisfies Record<string, Row>;
export type TopicName = keyof typeof topics;

/** The largest packet any client may announce; beyond it the broker cuts the connection before buffering. */
export const MAX_PACKET_BYTES = Math.max(...Object.values(topics).map((topic) => topic.maxBytes)) + 1024;

/** The topic's name on the wire. `holder` is the device or peer it belongs to. Throws when one of them is not a valid label. */
export function topic(name: TopicName, site: string, holder?: string): string {
  const path = topics[name].path.replace("<site>", siteId.parse(site));
  return /<device>|<peer>/.test(path) ? path.replace(/<device>|<peer>/, deviceId.parse(holder)) : path;
}

export type ParsedTopic = { readonly name: TopicName; readonly site: string; readonly device?: string; readonly peer?: string };

const byTail = new Map(Object.entries(topics).map(([name, { path }]) => [path.replaceAll(/<[a-z]+>/g, "*"), name as TopicName]));

/** Topics of ours that were parsed: each device publishes to the same two or three for ever. */
const parsed = new Map<string, ParsedTopic>();
const MAX_PARSED = 10_000;

/** What a topic on the wire means, or undefined when it is none of ours. Wildcards are none of ours. */
export function parseTopic(wire: string): ParsedTopic | undefined {
  const known = parsed.get(wire);
  if (known) return known;
  const meaning = readTopic(wire);
  if (meaning) {
    if (parsed.size >= MAX_PARSED) parsed.clear();
    parsed.set(wire, meaning);
  }
  return meaning;
}

function readTopic(wire: string): ParsedTopic | undefined {
  const levels = wire.split("/");
  const [picket, version, third] = levels;
  if (picket !== "picket" || version !== "v1") return undefined;
  // No site is called "mesh" (names.ts).
  const at = third === "mesh" ? 3 : 2;
  const site = levels[at];
  if (site === undefined || !siteId.safeParse(site).success) return undefined;
  const owned = at === 3 ? "peer" : levels[3] === "d" ? "device" : undefined;
  const shape = levels.with(at, "*");
  if (owned === undefined) {
    const name = byTail.get(shape.join("/"));
    return name && { name, site };
  }
  const holder = levels[4];
  if (holder === undefined || !deviceId.safeParse(holder).success) return undefined;
  const name = byTail.get(shape.with(4, "*").join("/"));
  return name && { name, site, [owned]: holder };
}

export type Peer = { readonly role: Role; readonly name: string; readonly site: string };

const isOwn = (peer: Peer, { device, peer: site }: ParsedTopic) => (device ?? site ?? peer.name) === peer.name;

/** Whether `peer`, as its certificate names it, may publish this packet. A device or peer site only under its own name, never with the retain flag. */
export function mayPublish(peer: Peer, packet: { topic: string; retain: boolean; payloadBytes: number }): boolean {
  const parsed = parseTopic(packet.topic);
  if (!parsed || parsed.site !== peer.site || packet.retain) return false;
  const rule = topics[parsed.name];
  return rule.publish === peer.role && packet.payloadBytes <= rule.maxBytes && isOwn(peer, parsed);
}

/** Whether `peer` may subscribe to this filter. Filters with wildcards are refused: no role needs one. */
export function maySubscribe(peer: Peer, filter: string): boolean {
  const parsed = parseTopic(filter);
  if (!parsed || parsed.site !== peer.site) return false;
  return topics[parsed.name].subscribe === peer.role && isOwn(peer, parsed);
}
