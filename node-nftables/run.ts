import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { closeSync, openSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NftError } from "./error.ts";

export type Ran = { readonly code: number | null; readonly stdout: string; readonly stderr: string };
/** Runs nft with these arguments and this text on stdin. Replace it to run nft elsewhere, or to record what would be run. */
export type Run = (args: readonly string[], input: string) => Promise<Ran>;

export type RunOptions = {
  /** Name or path of nft. Default: "nft" from PATH, else /usr/sbin/nft, which a service's PATH may lack. */
  readonly path?: string;
  /** A named network namespace (ip-netns(8)) to run in; needs iproute2. */
  readonly netns?: string;
  /** Default 10,000. */
  readonly timeoutMs?: number;
};

const MAX_OUTPUT_BYTES = 64 << 20;

/** Starts nft directly, without a shell. Throws `NftError` ("bad-input") for a namespace name that is none. */
export function spawnNft(options: RunOptions = {}): Run {
  const { netns, timeoutMs = 10_000 } = options;
  if (netns !== undefined && !/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/.test(netns)) {
    throw new NftError("bad-input", `${JSON.stringify(netns)} is not a network namespace name`);
  }
  const within = netns === undefined ? [] : ["ip", "netns", "exec", netns];
  const places = options.path === undefined ? ["nft", "/usr/sbin/nft"] : [options.path];
  return async (args, input) => {
    let missing: unknown;
    for (const nft of places) {
      try {
        return await run([...within, nft, ...args], input, timeoutMs);
      } catch (error) {
        if (!(error instanceof NftError && error.code === "missing")) throw error;
        missing ??= error;
      }
    }
    throw missing;
  };
}

function run(argv: readonly string[], input: string, timeoutMs: number): Promise<Ran> {
  const [command = "", ...args] = argv;
  const absent = (cause: Error) =>
    new NftError(
      "missing",
      `cannot start ${command}: install the packages "nftables" and "iproute2", or give nft's path (${cause.message})`,
      { cause },
    );
  const stdin = textAsFd(input);
  const ran = new Promise<Ran>((resolve, reject) => {
    const child = spawn(command, args, { stdio: [stdin, "pipe", "pipe"] });
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new NftError("timeout", `${command} did not end within ${timeoutMs} ms and was killed`));
    }, timeoutMs);
    const stdout = collect(child.stdout!);
    const stderr = collect(child.stderr!);
    child.on("error", (cause) => {
      clearTimeout(timer);
      reject(absent(cause));
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      // `ip netns exec` says so itself when it cannot start the program.
      const notStarted = /^exec of ".*" failed: (.*)$/m.exec(stderr());
      if (notStarted) reject(absent(new Error(notStarted[0])));
      else resolve({ code, stdout: stdout(), stderr: stderr() });
    });
  });
  return ran.finally(() => closeSync(stdin));
}

/**
 * A file descriptor to read `input` from. nft reads "-" by opening /dev/stdin, which the kernel refuses for a socket, and a socket is
 * what Node and Bun give a child as its stdin "pipe". So it gets a file without a name, in memory where there is a place for it: a full disk must
 * not keep anybody from changing the firewall.
 */
function textAsFd(input: string): number {
  const tried: string[] = [];
  for (const folder of ["/dev/shm", "/run", tmpdir()]) {
    const file = join(folder, `nft-${randomUUID()}`);
    try {
      writeFileSync(file, input, { flag: "wx", mode: 0o600 });
      return openSync(file, "r");
    } catch (error) {
      tried.push(error instanceof Error ? error.message : String(error));
    } finally {
      rmQuietly(file);
    }
  }
  throw new NftError("missing", `no place for nft's input: ${tried.join("; ")}`);
}

function rmQuietly(file: string): void {
  try {
    unlinkSync(file);
  } catch {
    // It could not be made in the first place.
  }
}

function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  stream.on("data", (chunk: Buffer) => {
    sizeBytes += chunk.length;
    if (sizeBytes <= MAX_OUTPUT_BYTES) chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString("utf8");
}
