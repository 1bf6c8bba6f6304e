import { deviceId } from "@picket/protocol/names";
import { enroll } from "./enroll/enroll.ts";
import { type Identity, isEnrolled } from "./enroll/files.ts";
import { hostLabel } from "./host.ts";
import { forgetPacks } from "./packs/packs.ts";
import { resetState } from "./response/index.ts";

/**
 * Enrols this machine. A machine that has an identity keeps it unless `replace` is set; then counters, key list and packs of the old one go too,
 * since they belong to other operators or another device.
 */
export async function enrollHost(of: { token: string; dir: string; name: string | undefined; replace: boolean }): Promise<Identity> {
  const had = isEnrolled(of.dir);
  if (had && !of.replace)
    throw new Error(
      `${of.dir} holds an identity already: run picket-agent run, or enrol anew with --replace (the site then has a second device)`,
    );
  const identity = await enroll({ token: of.token, dir: of.dir, name: of.name ?? deviceId.parse(hostLabel()) });
  if (had) {
    resetState(of.dir);
    forgetPacks(of.dir);
  }
  return identity;
}
