// The state directory: who this device is. Every file is replaced whole or not at all.
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { Anchor } from "@picket/protocol/command";
import { host, hostPort } from "@picket/protocol/enroll";
import { deviceId, siteId } from "@picket/protocol/names";
import * as z from "zod";

export const Identity = z.object({
  device: deviceId,
  site: siteId,
  /** "host:port" for enrolment and renewal. */
  https: hostPort,
  /** "host:port" of the broker. */
  mqtt: hostPort,
  /** More hosts of the same site, with the same ports, in the order to try them. */
  also: z.array(host).max(8).optional(),
  anchor: Anchor,
  /** The operators' key list that came with enrolment, JWS. */
  keys: z.string().optional(),
});
export type Identity = z.infer<typeof Identity>;

/** PEM texts. The key was made here and has never been anywhere else. */
export type Credentials = { readonly key: string; readonly cert: string; readonly ca: string };

/** This machine is not a device of any site yet. */
export class NotEnrolled extends Error {
  override name = "NotEnrolled";
}

const names = { identity: "identity.json", key: "device.key.pem", cert: "device.crt.pem", ca: "ca.crt.pem" } as const;

export const isEnrolled = (dir: string) => existsSync(join(dir, names.identity));

/** Throws `NotEnrolled`, or an error that names the damaged file. */
export function readIdentity(dir: string): { identity: Identity; credentials: Credentials } {
  if (!isEnrolled(dir))
    throw new NotEnrolled(
      `${dir} holds no identity: this machine is not a device of a site yet.\n` +
        "Make a token at the site (picket token create --out FILE), bring it here, and run: picket-agent enroll --token-file FILE\n" +
        "For a first look without a site: picket-agent run --stdout",
    );
  const path = join(dir, names.identity);
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new Error(`${path} cannot be read (${error instanceof Error ? error.message : error}): enrol again with --replace`);
  }
  const identity = Identity.safeParse(json);
  if (!identity.success) throw new Error(`${path}: ${z.prettifyError(identity.error)}\nEnrol again with --replace`);
  return { identity: identity.data, credentials: readCredentials(dir) };
}

export function readCredentials(dir: string): Credentials {
  const read = (name: string) => readFileSync(join(dir, name), "utf8");
  return { key: read(names.key), cert: read(names.cert), ca: read(names.ca) };
}

/** Makes this machine the device. `identity.json` comes last: a crash before it leaves the machine not enrolled, never half enrolled. */
export function writeIdentity(dir: string, identity: Identity, credentials: Credentials): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  rmSync(join(dir, names.identity), { force: true });
  replaceFile(join(dir, names.key), credentials.key);
  replaceFile(join(dir, names.cert), credentials.cert);
  replaceFile(join(dir, names.ca), credentials.ca);
  replaceFile(join(dir, names.identity), `${JSON.stringify(identity, undefined, 2)}\n`);
}

/** A renewed certificate for the same key: one file, so there is no moment in which key and certificate differ. */
export const writeCertificate = (dir: string, cert: string) => replaceFile(join(dir, names.cert), cert);

/** Readable by its owner only; on disk, under its name, when this returns. */
function replaceFile(path: string, text: string): void {
  const temporary = `${path}.new`;
  rmSync(temporary, { force: true });
  const file = openSync(temporary, "wx", 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
  const directory = openSync(dirname(path), "r");
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
