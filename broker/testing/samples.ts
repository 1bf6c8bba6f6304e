// Signed things, detections and events for the broker's tests.
import { randomUUID } from "node:crypto";
import type { Detection } from "@picket/protocol/alert";
import { encodeBatch } from "@picket/protocol/batch";
import {
  type Anchor,
  COMMAND_TYP,
  type CommandClaims,
  KEYS_TYP,
  type KeyList,
  type PublicKey,
  type Right,
  rights,
  thumbprint,
} from "@picket/protocol/command";
import type { SensorEvent } from "@picket/protocol/event";
import { PACK_TYP, type PackClaims } from "@picket/protocol/pack";
import { alertId } from "@picket/protocol/uuid5";
import { CompactSign, exportJWK, generateKeyPair } from "jose";
import type { Store } from "../store/database.ts";
import { appendBatch } from "../store/log.ts";

export const SITE = "dock";

export type Signer = { readonly publicKey: PublicKey; readonly sign: (typ: string, payload: object) => Promise<string> };

export async function makeSigner(): Promise<Signer> {
  const { privateKey, publicKey } = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  const { x } = await exportJWK(publicKey);
  return {
    publicKey: { kty: "OKP", crv: "Ed25519", x: x! },
    sign: (typ, payload) =>
      new CompactSign(Buffer.from(JSON.stringify(payload))).setProtectedHeader({ alg: "EdDSA", typ }).sign(privateKey),
  };
}

export type Keyring = { readonly root: Signer; readonly recovery: Signer; readonly operator: Signer; readonly anchor: Anchor };

export async function makeKeyring(): Promise<Keyring> {
  const [root, recovery, operator] = await Promise.all([makeSigner(), makeSigner(), makeSigner()]);
  return { root, recovery, operator, anchor: { root: root.publicKey, recovery: recovery.publicKey } };
}

export function signKeyList(
  keyring: Keyring,
  of: { version: number; may?: readonly Right[]; site?: string; by?: Signer; typ?: string },
): Promise<string> {
  const key = keyring.operator.publicKey;
  const list: KeyList = {
    site: of.site ?? SITE,
    version: of.version,
    iat: 1,
    keys: [{ kid: thumbprint(key), key, name: "anna", may: [...(of.may ?? rights)] }],
  };
  return (of.by ?? keyring.root).sign(of.typ ?? KEYS_TYP, list);
}

export function signCommand(keyring: Keyring, change: Partial<CommandClaims> & { typ?: string; by?: Signer } = {}): Promise<string> {
  const { typ = COMMAND_TYP, by = keyring.operator, ...claims } = change;
  return by.sign(typ, {
    site: SITE,
    dev: "gw-014",
    act: "isolate",
    args: { deadManMs: 3600_000, reason: "test" },
    kid: thumbprint(keyring.operator.publicKey),
    ctr: 1,
    iat: 1,
    exp: Math.floor(Date.now() / 1000) + 3600,
    jti: randomUUID(),
    ...claims,
  });
}

/** Settings for the whole site, unless told otherwise. */
export function signPack(keyring: Keyring, change: Partial<PackClaims> & { typ?: string; by?: Signer } = {}): Promise<string> {
  const { typ = PACK_TYP, by = keyring.operator, ...claims } = change;
  return by.sign(typ, {
    site: SITE,
    dev: "*",
    kind: "settings",
    version: 1,
    iat: 1,
    kid: thumbprint(keyring.operator.publicKey),
    payload: { metricsS: 30 },
    ...claims,
  });
}

let nextGroup = 0;

/** A detection of its own, unless told which. */
export function detection(change: Partial<Detection> = {}): Detection {
  const group = `g${nextGroup++}`;
  return {
    id: alertId({ site: SITE, rule: "r1", device: "gw-014", group, anchor: "gw-014:k3m9x0qa:0" }),
    site: SITE,
    device: "gw-014",
    timeMs: 1_000,
    rule: { id: "r1", title: "A shell that should not be", engine: "sigma" },
    severity: "high",
    score: 60,
    attack: { tactics: ["execution"], techniques: ["T1059.004"] },
    events: ["gw-014:k3m9x0qa:0"],
    tree: [],
    summary: "sh was started",
    count: 1,
    firstMs: 1_000,
    lastMs: 1_000,
    revision: 0,
    ...change,
  };
}

/** `count` events of one device, from `seq` on, one a second from `timeMs`. */
export const events = (of: { device?: string; seq: number; count: number; timeMs?: number }): SensorEvent[] =>
  Array.from({ length: of.count }, (_, at) => ({
    v: 1,
    device: of.device ?? "gw-014",
    epoch: "k3m9x0qa",
    seq: of.seq + at,
    timeMs: (of.timeMs ?? 0) + at * 1000,
    ...(at % 2 === 0
      ? { type: "agent.stop", body: { why: `n${of.seq + at}` } }
      : { type: "log.line", body: { source: "s", message: "m" } }),
  }));

export function log(store: Store, batch: readonly SensorEvent[], receivedMs: number): void {
  const first = batch[0]!;
  appendBatch(store, {
    device: first.device,
    epoch: first.epoch,
    firstSeq: first.seq,
    nextSeq: batch.at(-1)!.seq + 1,
    receivedMs,
    count: batch.length,
    batch: encodeBatch({ boot: "7b9c1c9e-2f0c-4f7e-9d7e-0123456789ab", oldest: first.seq, events: batch }),
  });
}
