// The one line that makes a bare machine a device. It carries the hash of the installer that an operator signed, so what the site (or whoever
// answers in its place) sends is run only if it is that one; the installer then checks the rest with what the token carries.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { anchorHash } from "@picket/protocol/command";
import { type EnrolToken, parseToken } from "@picket/protocol/enroll";
import { INSTALL_PATH } from "@picket/protocol/release";
import type { SiteClient } from "@picket/tui/client/client";
import { SiteError } from "@picket/tui/client/site-error";
import { OperatorError } from "./key-file.ts";
import { loadPublic } from "./keys.ts";
import { verifyRelease } from "./release.ts";

export type Installer = { readonly address: string; readonly sha256: string };

/** Reads a token the site has just made. Throws `OperatorError` when it would bind a device to other operators than those whose keys are in `home`. */
export function checkToken(text: string, home: string): EnrolToken {
  const token = parseToken(text);
  if (existsSync(join(home, "public.json")) && anchorHash(loadPublic(home).anchor) !== token.anchor)
    throw new OperatorError(
      "the site made a token for other operators' keys than yours: a device that uses it would obey others. Use it nowhere, and find out who runs that site",
    );
  return token;
}

/** The site's installer for devices, checked; or why no line can be given. */
export async function findInstaller(client: SiteClient, home: string, token: EnrolToken): Promise<Installer | { readonly why: string }> {
  if (!existsSync(join(home, "public.json"))) return { why: `${home} holds no public.json, with which the site's installer is checked` };
  const { anchor, keys } = loadPublic(home);
  try {
    const { jws } = await client.call("release");
    // The site's list may be newer than ours: both are signed by the root.
    const { keys: published } = await client.call("trust");
    const of = { jws, anchor, site: token.site };
    const release = await verifyRelease({ ...of, keys: published ?? keys }).catch(() => verifyRelease({ ...of, keys }));
    const sha256 = release.files["device.sh"];
    return sha256 === undefined ? { why: "the site's release has no installer" } : { address: token.https, sha256 };
  } catch (error) {
    if (error instanceof SiteError || error instanceof OperatorError) return { why: error.message };
    throw error;
  }
}

/**
 * A line for bash. With `token` it goes to the installer's standard input, never into its arguments; the space in front keeps the line out of the shell's
 * history where that is set up so (Debian, Ubuntu and Raspberry Pi OS: for users, not for root). Otherwise `file` names where the token lies.
 */
export function installLine({ address, sha256 }: Installer, secret: { readonly token: string } | { readonly file: string }): string {
  const fetched = `s=$(curl -fsSk https://${address}${INSTALL_PATH}/device.sh)`;
  const checked = `{ [ "$(sha256sum <<<"$s")" = '${sha256}  -' ] || { echo 'picket: this is not the installer your operator signed' >&2; false; }; }`;
  const run =
    "token" in secret ? `${asRoot} -s <<<"$s"$'\\n''${secret.token}'` : `${asRoot} -s -- --token-file ${quoted(secret.file)} <<<"$s"`;
  return ` ${fetched} && ${checked} && ${run}`;
}

/** A machine without sudo is one on which you are root. */
const asRoot = "$(command -v sudo) bash";
const quoted = (text: string) => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
