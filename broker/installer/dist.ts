// The folder from which devices are installed. Root writes it; the broker only reads, and need not be believed: devices check every file.
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { type ReleaseFile, SignedRelease } from "@picket/protocol/release";

/** Name of the signed checksums in the folder. */
const RELEASE = "release.jws";

export type Dist = {
  /** Compact JWS; undefined where there is none. */
  release(): string | undefined;
  /** Undefined where there is no such file, or an empty one. */
  file(name: ReleaseFile): { readonly path: string; readonly sizeBytes: number } | undefined;
};

/** Reads `dir` anew on every call, so that an upgrade shows at once. */
export function openDist(dir: string): Dist {
  return {
    release() {
      const text = orUndefined(() => readFileSync(join(dir, RELEASE), "utf8"));
      return SignedRelease.shape.jws.safeParse(text?.trim()).data;
    },
    file(name) {
      const path = join(dir, name);
      const stat = orUndefined(() => statSync(path));
      return stat?.isFile() && stat.size > 0 ? { path, sizeBytes: stat.size } : undefined;
    },
  };
}

/** A folder that cannot be read is as good as none: whoever asks is told what to do. */
function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
