// Files of the operator's home. Private keys are 0600 and refused when others can read them.
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, statSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { PublicKey } from "@picket/protocol/command";
import { exportJWK, generateKeyPair } from "jose";
import * as z from "zod";

/** An Ed25519 private key as JWK (RFC 8037). */
export const PrivateKey = PublicKey.extend({ d: z.string().length(43) });
export type PrivateKey = z.infer<typeof PrivateKey>;

/** Something about the operator's home that a person must put right. `message` says what and how. */
export class OperatorError extends Error {
  override name = "OperatorError";
}

/** Writes so that a reader sees the old text or the new, never half of it, also after a power cut. With `fresh` it fails when the file exists. */
export function writeSafely(file: string, text: string, fresh = false): void {
  const target = fresh ? file : `${file}.${process.pid}.tmp`;
  const fd = openSync(target, fresh ? "wx" : "w", 0o600);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  if (!fresh) renameSync(target, file);
  const folder = openSync(dirname(file), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

export const asJson = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;

/** Reads and checks a JSON file. Throws `OperatorError` with `todo` when it is absent or cannot be used. */
export function readJson<T>(file: string, type: z.ZodType<T>, todo: string): T {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") throw new OperatorError(`${file} does not exist: ${todo}`);
    throw new OperatorError(`${file} cannot be read: ${(error as Error).message}`);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new OperatorError(`${file} is not JSON: restore it from your backup`);
  }
  const parsed = type.safeParse(json);
  // Names of fields only: the content may be a secret.
  if (!parsed.success)
    throw new OperatorError(
      `${file} is damaged (${parsed.error.issues.map((issue) => issue.path.join(".")).join(", ")}): restore it from your backup`,
    );
  return parsed.data;
}

export function readPrivateKey(home: string, name: "root" | "recovery" | "operator"): PrivateKey {
  const file = join(home, `${name}.jwk`);
  const key = readJson(
    file,
    PrivateKey,
    name === "operator"
      ? "make your keys with `picket operator init`"
      : `bring ${name}.jwk here for this step; it belongs where the operator works, not on the site`,
  );
  const mode = statSync(file).mode & 0o777;
  if (mode & 0o077)
    throw new OperatorError(`${file} can be read by others (mode ${mode.toString(8)}): chmod 600 it, and think about who has read it`);
  return key;
}

export async function newPrivateKey(): Promise<PrivateKey> {
  const { privateKey } = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  return PrivateKey.parse(await exportJWK(privateKey));
}

export const publicPart = (key: PublicKey): PublicKey => ({ kty: key.kty, crv: key.crv, x: key.x });
