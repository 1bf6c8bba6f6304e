// What a site hands to machines that become its devices, and how they know that an operator meant them to run it.
import * as z from "zod";
import { Anchor } from "./command.ts";
import { siteId } from "./names.ts";

/** JWS header `typ` of a signed release. */
export const RELEASE_TYP = "picket-release+jws";

/** Below this path the broker serves the files of its release, to anyone: nothing in them is secret. */
export const INSTALL_PATH = "/v1/install";

/** Everything a device takes from its site. The first three come with the `picket` that signs; a site may lack one of the others. */
export const releaseFiles = [
  "device.sh",
  "first-boot.sh",
  "picket-agent.service",
  "linux-x64/picket-agent",
  "linux-arm64/picket-agent",
] as const;
export type ReleaseFile = (typeof releaseFiles)[number];

/**
 * Payload of a release: compact JWS (EdDSA), signed with a key whose entry in the key list has the right `install`.
 * install/device.sh reads it with regular expressions: keep it JSON without spaces.
 */
export const Release = z.object({
  site: siteId,
  /** Seconds. A device refuses one older than that it has. */
  iat: z.int().nonnegative(),
  version: z.string().regex(/^[0-9A-Za-z.+-]{1,64}$/),
  /** SHA-256, hex. */
  files: z.partialRecord(z.enum(releaseFiles), z.string().regex(/^[0-9a-f]{64}$/)),
});
export type Release = z.infer<typeof Release>;

/** With it and the anchor's hash from its token a machine checks a release by itself. */
export const Trust = z.object({
  anchor: Anchor,
  keys: z
    .string()
    .max(64 * 1024)
    .optional(),
});
export type Trust = z.infer<typeof Trust>;

export const SignedRelease = z.object({ jws: z.string().max(16 * 1024) });
