import { spawn } from "node:child_process";
import { networkInterfaces } from "node:os";

const TIMEOUT_MS = 5_000;

/**
 * Ends TCP connections to anywhere but `keep`, loopback and this device itself, with ss -K (ss(8); a kernel with INET_DIAG_DESTROY). The rules
 * stop their packets already; this also keeps them from coming back to life after a release. Resolves to how many ended, undefined when this
 * host cannot do it. Never rejects.
 */
export function endConnections(keep: readonly string[]): Promise<number | undefined> {
  const own = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map((entry) => entry.address.replace(/%.*$/, "")));
  const kept = ["127.0.0.0/8", "::1", ...new Set([...own, ...keep])];
  const filter = kept.flatMap((address, index) => [
    ...(index > 0 ? ["and"] : []),
    "not",
    "dst",
    address.includes(":") ? `[${address}]` : address,
  ]);
  return new Promise((resolve) => {
    const child = spawn("ss", ["-K", "-H", "-n", "-t", "state", "connected", "(", ...filter, ")"], { stdio: ["ignore", "pipe", "ignore"] });
    const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
    let lines = 0;
    child.stdout.on("data", (chunk: Buffer) => {
      for (const byte of chunk) if (byte === 0x0a) lines++;
    });
    const end = (count: number | undefined) => {
      clearTimeout(timer);
      resolve(count);
    };
    child.on("error", () => end(undefined));
    child.on("close", (code) => end(code === 0 ? lines : undefined));
  });
}
