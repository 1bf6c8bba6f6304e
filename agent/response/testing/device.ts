// The response part of a device, as a process of its own that a test can kill.
import { createInterface } from "node:readline";
import type { Pack } from "@picket/protocol/command";
import { createResponse } from "../index.ts";
import type { ResponseOptions } from "../response.ts";
import { bootTimeMs } from "../time.ts";

type Options = Pick<ResponseOptions, "stateDir" | "site" | "device" | "anchor" | "broker" | "keys"> & {
  /** Names the resolver knows; others do not exist. Absent: the system's resolver. */
  readonly names?: Record<string, string[]>;
  readonly keepConnections?: boolean;
  readonly bootId?: string;
};
type Line = { command?: string; pack?: Pack; reachable?: boolean; sleepMs?: number; look?: true };

const { names, keepConnections, ...options } = JSON.parse(process.argv[2]!) as Options;
const say = (line: Record<string, unknown>) => void process.stdout.write(`${JSON.stringify(line)}\n`);
let sleptMs = 0;

const response = await createResponse({
  ...options,
  now: () => Date.now(),
  uptimeMs: () => bootTimeMs() + sleptMs,
  emit: (draft) => say({ event: draft.body }),
  log: (level, message) => void process.stderr.write(`${level} ${message}\n`),
  tickMs: 20,
  ...(keepConnections ? { endConnections: async () => undefined } : {}),
  ...(names
    ? {
        resolve: async (host: string) => {
          const found = names[host];
          if (!found) throw new Error("ENOTFOUND");
          return found;
        },
      }
    : {}),
});
response.onResult((result) => say({ result }));
const look = () =>
  say({
    isolation: response.isolation(),
    addresses: response.brokerAddresses(),
    keys: response.keysVersion(),
    capability: response.capability(),
    pending: response.pendingResults(),
  });
say({ ready: true });
look();

createInterface({ input: process.stdin }).on("line", async (text) => {
  const line = JSON.parse(text) as Line;
  if (line.command !== undefined) await response.onCommand(line.command);
  if (line.pack) await response.onPack(line.pack);
  if (line.reachable !== undefined) response.setReachable(line.reachable);
  if (line.sleepMs !== undefined) sleptMs += line.sleepMs;
  if (line.look) look();
});
