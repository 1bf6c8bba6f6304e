// Operators for tests: keys in memory, signed with jose directly so that wrong things can be signed too.
import {
  type Action,
  type Anchor,
  COMMAND_TYP,
  KEYS_TYP,
  type KeyList,
  type PublicKey,
  rights,
  thumbprint,
} from "@picket/protocol/command";
import { CompactSign, exportJWK, generateKeyPair } from "jose";

export type Pair = { readonly secret: CryptoKey; readonly key: PublicKey; readonly kid: string };

export async function newPair(): Promise<Pair> {
  const { privateKey, publicKey } = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  const key = { kty: "OKP", crv: "Ed25519", x: (await exportJWK(publicKey)).x! } as const;
  return { secret: privateKey, key, kid: thumbprint(key) };
}

/** Compact JWS of anything, with any header. */
export async function sign(payload: unknown, by: Pair, header: Record<string, unknown> = {}): Promise<string> {
  const bytes = new TextEncoder().encode(typeof payload === "string" ? payload : JSON.stringify(payload));
  return new CompactSign(bytes).setProtectedHeader({ alg: "EdDSA", typ: COMMAND_TYP, kid: by.kid, ...header }).sign(by.secret);
}

export type TestOperators = {
  readonly anchor: Anchor;
  readonly root: Pair;
  readonly recovery: Pair;
  readonly anna: Pair;
  readonly keys: string;
  /** The next command of anna's, with a counter above the last. */
  command(action: Action, of?: Record<string, unknown>): Promise<string>;
  list(version: number, keys?: KeyList["keys"], by?: Pair): Promise<string>;
};

/** A root, a recovery key and one operator of site "lab", whose device is "kiosk-1". */
export async function newOperators(nowMs: () => number = Date.now): Promise<TestOperators> {
  const [root, recovery, anna] = [await newPair(), await newPair(), await newPair()];
  const seconds = () => Math.floor(nowMs() / 1000);
  const entries: KeyList["keys"] = [{ kid: anna.kid, key: anna.key, name: "anna", may: [...rights] }];
  const list = (version: number, keys = entries, by = root) => sign({ site: "lab", version, iat: seconds(), keys }, by, { typ: KEYS_TYP });
  let ctr = 100;
  return {
    anchor: { root: root.key, recovery: recovery.key },
    root,
    recovery,
    anna,
    keys: await list(1),
    list,
    command: (action, of = {}) =>
      sign(
        {
          site: "lab",
          dev: "kiosk-1",
          kid: anna.kid,
          ctr: ++ctr,
          iat: seconds(),
          exp: seconds() + 300,
          jti: crypto.randomUUID(),
          ...action,
          ...of,
        },
        anna,
      ),
  };
}

export const isolate = (deadManMs = 24 * 3_600_000): Action => ({ act: "isolate", args: { deadManMs, reason: "test" } });
export const release: Action = { act: "release", args: { reason: "test" } };
