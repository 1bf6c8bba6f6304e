// Identifiers that cross process boundaries. They become MQTT topic levels, file names and certificate CNs, so they hold nothing that any of those treats specially.
import * as z from "zod";

const label = () => z.string().regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, "use 1-63 of a-z, 0-9 and inner hyphens");

/** 1-63 of a-z, 0-9 and inner hyphens (an RFC 1123 label), so `/`, `+`, `#`, `:` and `..` cannot occur. */
export const deviceId = label();
/** Not "mesh": that topic level belongs to what sites say to each other. */
export const siteId = z
  .string()
  .regex(/^(?!mesh$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, 'use 1-63 of a-z, 0-9 and inner hyphens, but not "mesh"');

/** Eight of a-z and 0-9, random, new at every agent start. */
export const epochId = z.string().regex(/^[a-z0-9]{8}$/);

/** /proc/sys/kernel/random/boot_id */
export const bootId = z.uuid();

/** A SHA-256 as it is written everywhere: 64 lower-case hex digits, so it may become a file name. */
export const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

export const roles = ["device", "detector", "site"] as const;
/** What a certificate says its holder is: issuer plus OU. */
export type Role = (typeof roles)[number];

/** The only MQTT client id a certificate may use, so that nobody evicts another's session. */
export const clientId = (role: Role, name: string) => `${role}:${name}`;
