// The bytes of samples on disk: `<hash>` is whole and checked, `<device>.<hash>.part` is what one device has sent so far.
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, unlink } from "node:fs/promises";
import { join } from "node:path";

/** Unfinished files kept for devices that went away; the oldest go first. */
const MAX_PARTS = 16;
const READ_BYTES = 256 << 10;
const whole = /^[0-9a-f]{64}$/;
const part = /^([a-z0-9-]{1,63})\.([0-9a-f]{64})\.part$/;

/** A sample as it comes from one device, appended in order and hashed on the way. */
export type Incoming = {
  /** Bytes on disk. */
  readonly length: number;
  /** What has come is the file: it was all there when the broker ended. */
  isWhole(): boolean;
  /** Appends. Rejects when the disk refuses. */
  add(bytes: Uint8Array): Promise<void>;
  /** Whole: true when the hash is right and the file is in its place, on disk; false when it was another file and is gone. */
  finish(): Promise<boolean>;
  /** Stops; what has come stays for another time. */
  pause(): Promise<void>;
};

export class Spool {
  readonly #dir: string;
  readonly #open = new Set<string>();

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Makes the folder, and removes every file but `keep` and unfinished ones. Returns which of `keep` are not there. */
  async reconcile(keep: readonly string[]): Promise<string[]> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    const wanted = new Set(keep);
    for (const name of await readdir(this.#dir)) {
      if (wanted.delete(name) || part.test(name)) continue;
      await rm(this.#path(name), { recursive: true, force: true });
    }
    return [...wanted];
  }

  /** Goes on where this device stopped, or begins. Other unfinished files of the device are removed. */
  async receive(device: string, sha256: string): Promise<Incoming> {
    const name = `${device}.${sha256}.part`;
    this.#open.add(name);
    try {
      await this.#tidy(device, name);
      const file = await open(this.#path(name), "a+", 0o600);
      const hasher = new Bun.CryptoHasher("sha256");
      let length = await feedTo(hasher, file).catch(async (error: unknown) => {
        await file.close();
        throw error;
      });
      const close = async () => {
        this.#open.delete(name);
        await file.close();
      };
      return {
        get length() {
          return length;
        },
        isWhole: () => hasher.copy().digest("hex") === sha256,
        add: async (bytes) => {
          await file.appendFile(bytes);
          hasher.update(bytes);
          length += bytes.length;
        },
        finish: async () => {
          const right = hasher.digest("hex") === sha256;
          if (right) await file.sync();
          await close();
          if (right) await this.#place(name, sha256);
          else await unlink(this.#path(name));
          return right;
        },
        pause: close,
      };
    } catch (error) {
      this.#open.delete(name);
      throw error;
    }
  }

  /** Bytes of a whole file from `offset` on, at most `max`. Undefined when it is not there. */
  async read(sha256: string, offset: number, max: number): Promise<Buffer | undefined> {
    if (!whole.test(sha256)) return undefined;
    try {
      await using file = await open(this.#path(sha256), "r");
      const bytes = Buffer.allocUnsafe(max);
      const { bytesRead } = await file.read(bytes, 0, max, offset);
      return bytes.subarray(0, bytesRead);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }

  async remove(sha256: string): Promise<void> {
    if (whole.test(sha256)) await rm(this.#path(sha256), { force: true });
  }

  #path(name: string): string {
    return join(this.#dir, name);
  }

  /** A name in a folder is on disk only when the folder is. */
  async #place(name: string, sha256: string): Promise<void> {
    await rename(this.#path(name), this.#path(sha256));
    await using folder = await open(this.#dir, "r");
    await folder.sync();
  }

  async #tidy(device: string, current: string): Promise<void> {
    const parts: { name: string; ms: number }[] = [];
    for (const name of await readdir(this.#dir)) {
      const owner = part.exec(name)?.[1];
      if (owner === undefined || name === current || this.#open.has(name)) continue;
      if (owner === device) await rm(this.#path(name), { force: true });
      else parts.push({ name, ms: (await stat(this.#path(name))).mtimeMs });
    }
    parts.sort((a, b) => b.ms - a.ms);
    for (const { name } of parts.slice(MAX_PARTS)) await rm(this.#path(name), { force: true });
  }
}

async function feedTo(hasher: Bun.CryptoHasher, file: FileHandle): Promise<number> {
  const bytes = Buffer.allocUnsafe(READ_BYTES);
  for (let at = 0; ; ) {
    const { bytesRead } = await file.read(bytes, 0, bytes.length, at);
    if (bytesRead === 0) return at;
    hasher.update(bytes.subarray(0, bytesRead));
    at += bytesRead;
  }
}
