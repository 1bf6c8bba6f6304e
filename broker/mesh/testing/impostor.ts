// A peer that does as it likes: holds a site's real mesh key, speaks the protocol by hand.

import { ITEM_TYP, type MeshItem, type MeshMessage } from "@picket/protocol/mesh";
import { clientId } from "@picket/protocol/names";
import { topic } from "@picket/protocol/topics";
import { CompactSign } from "jose";
import { connectAs, type Identity, type Where } from "./sites.ts";

export type Impostor = {
  say(message: object | string): Promise<void>;
  /** Sends these items with the given hops, as positions that only rise. */
  items(items: readonly { jws: string; hops: readonly string[] }[]): Promise<void>;
  /** The next message of that kind; what came before is kept. */
  heard<K extends MeshMessage["kind"]>(kind: K): Promise<Extract<MeshMessage, { kind: K }>>;
  /** Resolves when the connection is over. */
  readonly closed: Promise<void>;
  readonly log: string;
  end(): Promise<void>;
};

/** Connects to `to` as `name`, subscribes and says hello with the given grant. */
export async function impostor(to: Where, who: Identity & { name: string; grant?: number; hello?: boolean }): Promise<Impostor> {
  const client = await connectAs(to, { ...who, clientId: clientId("site", who.name) });
  const inbox: MeshMessage[] = [];
  const waiting: (() => void)[] = [];
  client.on("message", (_topic, payload) => {
    inbox.push(JSON.parse(payload.toString()));
    for (const wake of waiting.splice(0)) wake();
  });
  client.on("error", () => {});
  const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
  await client.subscribeAsync(topic("meshDown", to.name, who.name), { qos: 1 });
  const log = crypto.randomUUID();
  let pos = 0;
  const say = async (message: object | string) => {
    const text = typeof message === "string" ? message : JSON.stringify(message);
    await client.publishAsync(topic("meshUp", to.name, who.name), text, { qos: 1 });
  };
  const heard: Impostor["heard"] = async (kind) => {
    for (;;) {
      const at = inbox.findIndex((message) => message.kind === kind);
      if (at >= 0) return inbox.splice(at, 1)[0] as never;
      await Promise.race([new Promise<void>((resolve) => waiting.push(resolve)), closed.then(() => Promise.reject(new Error("closed")))]);
    }
  };
  if (who.hello !== false) await say({ kind: "hello", v: 1, log, grant: who.grant ?? 0 });
  return {
    say,
    items: (items) => say({ kind: "items", items: items.map((item) => ({ ...item, pos: ++pos })) }),
    heard,
    closed,
    log,
    end: () => client.endAsync(true),
  };
}

/** Signs anything as an item, with any certificate. */
export async function forge(by: Identity, item: object, header: object = {}): Promise<string> {
  const der = (pem: string) => pem.replaceAll(/-----[^-]+-----|\s/g, "");
  const bytes = Buffer.from(der(by.key), "base64");
  const key = await crypto.subtle.importKey("pkcs8", bytes, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
  return new CompactSign(Buffer.from(JSON.stringify(item)))
    .setProtectedHeader({ alg: "ES256", typ: ITEM_TYP, x5c: [der(by.certificate)], ...header })
    .sign(key);
}

export const alertItem = (origin: string, body: object, iat = Math.floor(Date.now() / 1000)) =>
  ({ v: 1, origin, iat, kind: "alert", body }) as unknown as MeshItem;
