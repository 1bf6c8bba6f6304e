// Who may order devices: the operators' root, its recovery key, and the key lists they sign.
import { chmodSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Anchor, KEYS_TYP, KeyList, type PublicKey, type Right, rights, thumbprint } from "@picket/protocol/command";
import { siteId } from "@picket/protocol/names";
import { CompactSign, compactVerify, importJWK } from "jose";
import * as z from "zod";
import { asJson, newPrivateKey, OperatorError, type PrivateKey, publicPart, readJson, readPrivateKey, writeSafely } from "./key-file.ts";

/** What goes to the site's host: nothing in it is secret. */
export const PublicFile = z.object({ anchor: Anchor, keys: z.string() });
export type PublicFile = z.infer<typeof PublicFile>;

export type Operator = {
  readonly home: string;
  readonly site: string;
  readonly kid: string;
  /** As the key list calls this operator; undefined when the list does not have the key. */
  readonly name: string | undefined;
  readonly may: readonly Right[];
  readonly key: PrivateKey;
};
export type ListedOperator = { readonly kid: string; readonly name: string; readonly may: readonly Right[]; readonly self: boolean };

const TODO = "make your keys with `picket operator init`";
const made = ["root.jwk", "recovery.jwk", "operator.jwk", "public.json"] as const;

/**
 * Makes root, recovery and operator keys and version 1 of the key list, in which this operator may order everything.
 * Throws `OperatorError` when `home` holds any of them already: they are never overwritten.
 */
export async function initOperator(of: {
  home: string;
  site: string;
  name: string;
  nowMs?: number;
}): Promise<Operator & { public: PublicFile }> {
  const site = checked(siteId, of.site, "site");
  const name = checked(operatorName, of.name, "operator name");
  const there = made.find((file) => existsSync(join(of.home, file)));
  if (there)
    throw new OperatorError(
      `${join(of.home, there)} exists already: operator keys are never overwritten; use another --home, or move the old keys away`,
    );
  mkdirSync(of.home, { recursive: true, mode: 0o700 });
  chmodSync(of.home, 0o700);

  const [root, recovery, key] = [await newPrivateKey(), await newPrivateKey(), await newPrivateKey()];
  const kid = thumbprint(key);
  const list: KeyList = { site, version: 1, iat: seconds(of.nowMs), keys: [{ kid, key: publicPart(key), name, may: [...rights] }] };
  const shared: PublicFile = { anchor: { root: publicPart(root), recovery: publicPart(recovery) }, keys: await signList(list, root) };
  const contents = { "root.jwk": root, "recovery.jwk": recovery, "operator.jwk": key, "public.json": shared };
  const written: string[] = [];
  try {
    for (const file of made) {
      writeSafely(join(of.home, file), asJson(contents[file]), true);
      written.push(file);
    }
  } catch (error) {
    // Half a set of keys would block the next try.
    for (const file of written) rmSync(join(of.home, file), { force: true });
    throw error;
  }
  return { home: of.home, site, kid, name, may: rights, key, public: shared };
}

/** The operator whose keys are in `home`. Throws `OperatorError`. */
export async function loadOperator(home: string): Promise<Operator> {
  const key = readPrivateKey(home, "operator");
  const list = await readKeyList(home);
  const kid = thumbprint(key);
  const entry = list.keys.find((one) => one.kid === kid);
  return { home, site: list.site, kid, name: entry?.name, may: entry?.may ?? [], key };
}

/** The anchor and the newest key list, as the site needs them. Throws `OperatorError`. */
export const loadPublic = (home: string): PublicFile => readJson(join(home, "public.json"), PublicFile, TODO);

/** Who the newest key list of this home lets order. Throws `OperatorError`. */
export async function listOperators(home: string): Promise<{ site: string; version: number; operators: ListedOperator[] }> {
  const list = await readKeyList(home);
  const own = existsSync(join(home, "operator.jwk")) ? thumbprint(readPrivateKey(home, "operator")) : undefined;
  return {
    site: list.site,
    version: list.version,
    operators: list.keys.map(({ kid, name, may }) => ({ kid, name, may, self: kid === own })),
  };
}

export type NextList = { readonly version: number; readonly jws: string; readonly kid: string };

/** Lists one more operator. The result must still be published to the site (PUT /v1/keys). Needs root.jwk, or recovery.jwk with `by`. Throws `OperatorError`. */
export async function addOperator(
  home: string,
  of: { name: string; key: PublicKey; may?: readonly Right[]; by?: "root" | "recovery"; nowMs?: number },
): Promise<NextList> {
  const name = checked(operatorName, of.name, "operator name");
  const kid = thumbprint(of.key);
  return nextList(home, kid, of, (keys) => {
    if (keys.some((entry) => entry.kid === kid)) throw new OperatorError(`the key ${kid} is listed already`);
    if (keys.some((entry) => entry.name === name))
      throw new OperatorError(`an operator named ${name} is listed already: choose another name`);
    return [...keys, { kid, key: publicPart(of.key), name, may: [...(of.may ?? rights)] }];
  });
}

/** Strikes an operator off, by name or key id. Devices refuse the key from the moment they have the new list. Throws `OperatorError`. */
export async function removeOperator(home: string, who: string, of: { by?: "root" | "recovery"; nowMs?: number } = {}): Promise<NextList> {
  const found = await findOperator(home, who);
  return nextList(home, found.kid, of, (keys) => keys.filter((entry) => entry.kid !== found.kid));
}

/** Lets a listed operator, by name or key id, do more. Undefined when he may already: the list here need only be published. Throws `OperatorError`. */
export async function grantRight(
  home: string,
  who: string,
  right: Right,
  of: { by?: "root" | "recovery"; nowMs?: number } = {},
): Promise<NextList | undefined> {
  const found = await findOperator(home, who);
  if (found.may.includes(right)) return undefined;
  return nextList(home, found.kid, of, (keys) =>
    keys.map((entry) => (entry.kid === found.kid ? { ...entry, may: [...entry.may, right] } : entry)),
  );
}

async function findOperator(home: string, who: string): Promise<ListedOperator> {
  const { operators } = await listOperators(home);
  const found = operators.find((entry) => entry.kid === who) ?? operators.find((entry) => entry.name === who);
  if (found) return found;
  const names = operators.map((entry) => entry.name).join(", ") || "none";
  throw new OperatorError(`no operator ${JSON.stringify(who)} is listed; there are: ${names}`);
}

async function nextList(
  home: string,
  kid: string,
  of: { by?: "root" | "recovery"; nowMs?: number },
  change: (keys: KeyList["keys"]) => KeyList["keys"],
): Promise<NextList> {
  const list = await readKeyList(home);
  const next = KeyList.parse({ site: list.site, version: list.version + 1, iat: seconds(of.nowMs), keys: change(list.keys) });
  const { anchor } = loadPublic(home);
  const by = of.by ?? "root";
  const key = readPrivateKey(home, by);
  if (key.x !== anchor[by].x)
    throw new OperatorError(`${join(home, `${by}.jwk`)} is not the ${by} key of public.json: devices would refuse the list`);
  const jws = await signList(next, key);
  writeSafely(join(home, "public.json"), asJson({ anchor, keys: jws } satisfies PublicFile));
  return { version: next.version, jws, kid };
}

async function signList(list: KeyList, key: PrivateKey): Promise<string> {
  const header = { alg: "EdDSA", typ: KEYS_TYP, kid: thumbprint(key) };
  return new CompactSign(new TextEncoder().encode(JSON.stringify(list))).setProtectedHeader(header).sign(await importJWK(key, "EdDSA"));
}

/** The newest key list of this home, proved by its own root. Throws `OperatorError`. */
export async function readKeyList(home: string): Promise<KeyList> {
  const { anchor, keys } = loadPublic(home);
  for (const key of [anchor.root, anchor.recovery]) {
    const opened = await compactVerify(keys, await importJWK(key, "EdDSA"), { algorithms: ["EdDSA"] }).catch(() => undefined);
    if (opened?.protectedHeader.typ === KEYS_TYP) return KeyList.parse(JSON.parse(new TextDecoder().decode(opened.payload)));
  }
  throw new OperatorError(`${join(home, "public.json")}: its key list is signed by neither of its own keys: restore it from your backup`);
}

const operatorName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}$/, "use 1-64 letters, digits, space and . _ @ -");
const seconds = (nowMs = Date.now()) => Math.floor(nowMs / 1000);

function checked(type: z.ZodType<string>, value: string, what: string): string {
  const parsed = type.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new OperatorError(`${JSON.stringify(value)} cannot be a ${what}: ${parsed.error.issues[0]?.message}`);
}
