// One signed command, with a counter that no other command of this key and device has had.
import { randomUUID } from "node:crypto";
import { closeSync, existsSync, openSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Action, COMMAND_TYP, type CommandClaims } from "@picket/protocol/command";
import { deviceId } from "@picket/protocol/names";
import { CompactSign, importJWK } from "jose";
import * as z from "zod";
import { asJson, OperatorError, readJson, writeSafely } from "./key-file.ts";
import type { Operator } from "./keys.ts";

/** How long a command may travel when nobody says otherwise: a device that is offline tonight should still hear it tomorrow. */
export const DEFAULT_TTL_MS = 24 * 3600_000;
const LOCK_STALE_MS = 10_000;
const LOCK_TRIES = 600;

const COUNTERS = "counters.json";
const Counters = z.record(z.string(), z.int().positive());

/**
 * Signs `action` for `device`; it can be carried until `ttlMs` from now. The counter is on disk before the command exists.
 * Throws `OperatorError` when the key list does not let this operator order it, which the device would refuse anyway.
 */
export async function signCommand(
  operator: Operator,
  of: { device: string; action: Action; ttlMs?: number; nowMs?: number },
): Promise<{ jws: string; jti: string; claims: CommandClaims }> {
  const device = deviceId.safeParse(of.device);
  if (!device.success) throw new OperatorError(`${JSON.stringify(of.device)} is not a device name`);
  const action = Action.safeParse(of.action);
  if (!action.success) throw new OperatorError(`this ${of.action.act} cannot be signed: ${z.prettifyError(action.error)}`);
  if (!operator.may.includes(action.data.act)) {
    throw new OperatorError(`the key list lets ${operator.name ?? "this key"} not order ${action.data.act}: ask who holds the root key`);
  }
  const nowMs = of.nowMs ?? Date.now();
  const iat = Math.floor(nowMs / 1000);
  const claims: CommandClaims = {
    ...action.data,
    site: operator.site,
    dev: device.data,
    kid: operator.kid,
    ctr: await nextCounter(operator.home, device.data, nowMs),
    iat,
    exp: iat + Math.ceil((of.ttlMs ?? DEFAULT_TTL_MS) / 1000),
    jti: randomUUID(),
  };
  const header = { alg: "EdDSA", typ: COMMAND_TYP, kid: operator.kid };
  const key = await importJWK(operator.key, "EdDSA");
  const jws = await new CompactSign(new TextEncoder().encode(JSON.stringify(claims))).setProtectedHeader(header).sign(key);
  return { jws, jti: claims.jti, claims };
}

/** max(last + 1, `least`), on disk when it resolves. For commands `least` is the wall clock: it rises even when counters.json is lost or the clock is set back. */
export async function nextCounter(home: string, name: string, least: number): Promise<number> {
  const release = await lock(join(home, "counters.lock"));
  try {
    const counters = readCounters(home);
    const next = Math.max((counters[name] ?? 0) + 1, least);
    writeSafely(join(home, COUNTERS), asJson({ ...counters, [name]: next }));
    return next;
  } finally {
    release();
  }
}

/** The last number given out under this name; 0 before the first. Throws `OperatorError`. */
export const lastCounter = (home: string, name: string): number => readCounters(home)[name] ?? 0;

const readCounters = (home: string): z.infer<typeof Counters> => {
  const file = join(home, COUNTERS);
  return existsSync(file) ? readJson(file, Counters, "it will be made again") : {};
};

/** The console and a `picket` command may sign at the same moment. A lock left by a killed process is taken after 10 s. */
async function lock(file: string): Promise<() => void> {
  for (let tries = 0; tries < LOCK_TRIES; tries++) {
    try {
      closeSync(openSync(file, "wx", 0o600));
      return () => rmSync(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST")
        throw new OperatorError(`${file} cannot be made: ${(error as Error).message}`);
      if (isStale(file)) rmSync(file, { force: true });
      else await sleep(20);
    }
  }
  throw new OperatorError(`${file} is held by another picket command: wait for it, or remove the file when there is none`);
}

function isStale(file: string): boolean {
  try {
    return Date.now() - statSync(file).mtimeMs > LOCK_STALE_MS;
  } catch {
    return false;
  }
}
