// Signed commands on their way to devices. The broker can neither make nor judge one; it keeps them until the device answers or they expire.

import type { Database } from "bun:sqlite";
import { COMMAND_TYP, CommandClaims, CommandResult, type KeyList } from "@picket/protocol/command";
import type { CommandRecord } from "@picket/protocol/rest";
import { tryParse } from "@picket/protocol/try-parse";
import { compactVerify, decodeProtectedHeader, importJWK } from "jose";
import * as z from "zod";
import { Refused } from "../refused.ts";
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

export const commandMigrations: Migrations = [
  `CREATE TABLE commands (
    -- The order of arrival: a device's last isolate or release is what the operators want, whatever became of it.
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    jti TEXT NOT NULL UNIQUE,
    device TEXT NOT NULL,
    act TEXT NOT NULL,
    kid TEXT NOT NULL,
    ctr INTEGER NOT NULL,
    operator TEXT NOT NULL,
    jws TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'answered', 'expired')),
    createdMs INTEGER NOT NULL,
    expiresMs INTEGER NOT NULL,
    result TEXT
  ) STRICT;
  CREATE INDEX commands_device ON commands (device, seq);
  CREATE INDEX commands_open ON commands (expiresMs) WHERE state IN ('waiting', 'sent')`,
];

/** Most commands that wait for one device: enough for a long outage, too few to fill a disk. */
export const MAX_OPEN_PER_DEVICE = 32;

type Row = {
  jti: string;
  device: string;
  act: string;
  kid: string;
  operator: string;
  jws: string;
  state: CommandRecord["state"];
  createdMs: number;
  expiresMs: number;
  result: string | null;
};

export type Submission = { readonly device: string; readonly jws: string; readonly operator: string; readonly nowMs: number };

/**
 * Checks what a broker can check, so that an operator hears of a mistake now and not from the device later: form, site, device,
 * expiry, and as a courtesy the signature and permission against the current key list. The device trusts none of this.
 * Throws `Refused`.
 */
export async function readCommand(
  jws: string,
  of: { site: string; device: string; nowMs: number; keys: KeyList | undefined },
): Promise<CommandClaims> {
  const claims = claimsOf(jws);
  if (claims.site !== of.site) throw new Refused("conflict", `This command is for site "${claims.site}", not for "${of.site}"`);
  if (claims.dev !== of.device) throw new Refused("conflict", `This command is for device "${claims.dev}", but was sent to "${of.device}"`);
  if (claims.exp * 1000 <= of.nowMs)
    throw new Refused(
      "conflict",
      "This command has already expired",
      "Sign it again; when that does not help, compare your clock with the site's",
    );
  if (!of.keys)
    throw new Refused(
      "conflict",
      "This site has no key list, so no device would obey",
      "Publish one signed by the operators' root (PUT /v1/keys)",
    );
  const entry = of.keys.keys.find((key) => key.kid === claims.kid);
  if (!entry)
    throw new Refused(
      "forbidden",
      `Key ${claims.kid} is not in key list version ${of.keys.version} of this site`,
      "Publish a key list that names it (PUT /v1/keys), or sign with a key it names",
    );
  if (!entry.may.includes(claims.act))
    throw new Refused("forbidden", `Key list version ${of.keys.version} does not permit "${entry.name}" to ${claims.act}`);
  try {
    await compactVerify(jws, await importJWK(entry.key, "EdDSA"), { algorithms: ["EdDSA"] });
  } catch {
    throw new Refused("forbidden", `The signature does not match key ${claims.kid}, so the device would refuse this command`);
  }
  return claims;
}

function claimsOf(jws: string): CommandClaims {
  try {
    const header = decodeProtectedHeader(jws);
    if (header.typ !== COMMAND_TYP) throw new Error(`header typ must be ${COMMAND_TYP}`);
    const claims = tryParse(CommandClaims, JSON.parse(Buffer.from(jws.split(".")[1] ?? "", "base64url").toString()));
    if (!claims.success) throw new Error(z.prettifyError(claims.error).replaceAll("\n", " ").slice(0, 300));
    return claims.data;
  } catch (error) {
    throw new Refused("invalid", `This is not a signed command: ${error instanceof Error ? error.message : "malformed"}`);
  }
}

export class Commands {
  readonly #store: Store;
  readonly #db: Database;
  readonly #site: string;
  readonly #keys: () => KeyList | undefined;

  constructor(store: Store, of: { site: string; keys: () => KeyList | undefined }) {
    this.#store = store;
    this.#db = store.db;
    this.#site = of.site;
    this.#keys = of.keys;
  }

  /** Stores a command, on disk when it resolves. The same JWS again returns the first record. Throws `Refused`. */
  async submit({ device, jws, operator, nowMs }: Submission): Promise<CommandRecord> {
    const claims = await readCommand(jws, { site: this.#site, device, nowMs, keys: this.#keys() });
    return this.#store.commitSoon(() => {
      const before = this.#row(claims.jti);
      if (before?.jws === jws) return record(before);
      if (before)
        throw new Refused("conflict", `Command ${claims.jti} exists already with other content`, "Sign the new command with a new jti");
      this.#refuseLowCounter(device, claims);
      if (this.open(device, nowMs).length >= MAX_OPEN_PER_DEVICE)
        throw new Refused("too-many", `${MAX_OPEN_PER_DEVICE} commands wait for ${device} already`, "Wait until it answers or they expire");
      this.#db.run(
        `INSERT INTO commands (jti, device, act, kid, ctr, operator, jws, state, createdMs, expiresMs)
         VALUES (?, ?, ?, ?, ?, ?, ?, 'waiting', ?, ?)`,
        [claims.jti, device, claims.act, claims.kid, claims.ctr, operator, jws, nowMs, claims.exp * 1000],
      );
      return record(this.#row(claims.jti)!);
    });
  }

  /** What a device must still be told, in the order it was ordered. To be sent at every connect until it answers. */
  open(device: string, nowMs: number): { jti: string; jws: string }[] {
    return this.#db
      .query<{ jti: string; jws: string }, [string, number]>(
        "SELECT jti, jws FROM commands WHERE device = ? AND state IN ('waiting', 'sent') AND expiresMs > ? ORDER BY seq",
      )
      .all(device, nowMs);
  }

  /** Notes that the device's connection took the command. Call inside a transaction. */
  markSent(jti: string): CommandRecord | undefined {
    this.#db.run("UPDATE commands SET state = 'sent' WHERE jti = ? AND state = 'waiting'", [jti]);
    return this.get(jti);
  }

  /**
   * Keeps a device's answer to one of its own commands; call inside a transaction. The first answer stands, also when it comes after
   * expiry. Only "replayed", which a command sent twice brings, gives way to the real one. Undefined when it answers none of its commands.
   */
  answer(device: string, result: CommandResult): CommandRecord | undefined {
    const row = result.jti === undefined ? undefined : this.#row(result.jti);
    if (row?.device !== device) return undefined;
    const before = record(row).result;
    if (before === undefined || (before.code === "replayed" && result.code !== "replayed"))
      this.#db.run("UPDATE commands SET state = 'answered', result = ? WHERE jti = ?", [JSON.stringify(result), row.jti]);
    return this.get(row.jti);
  }

  /** Ends what no device may obey any more and returns it. Call inside a transaction. */
  expire(nowMs: number): CommandRecord[] {
    return this.#db
      .query<Row, [number]>("UPDATE commands SET state = 'expired' WHERE state IN ('waiting', 'sent') AND expiresMs <= ? RETURNING *")
      .all(nowMs)
      .map(record);
  }

  get(jti: string): CommandRecord | undefined {
    const row = this.#row(jti);
    return row && record(row);
  }

  /** A device's newest commands first. */
  ofDevice(device: string, limit = 50): CommandRecord[] {
    return this.#db
      .query<Row, [string, number]>("SELECT * FROM commands WHERE device = ? ORDER BY seq DESC LIMIT ?")
      .all(device, limit)
      .map(record);
  }

  #row(jti: string): Row | undefined {
    return this.#db.query<Row, [string]>("SELECT * FROM commands WHERE jti = ?").get(jti) ?? undefined;
  }

  #refuseLowCounter(device: string, claims: CommandClaims): void {
    const highest = this.#db
      .query<{ ctr: number | null }, [string, string]>("SELECT max(ctr) AS ctr FROM commands WHERE device = ? AND kid = ?")
      .get(device, claims.kid)?.ctr;
    if (highest != null && claims.ctr <= highest)
      throw new Refused(
        "conflict",
        `Counter ${claims.ctr} is not above ${highest}, which this key already used for ${device}; the device would refuse it as replayed`,
        "Sign again with a higher counter",
      );
  }
}

/**
 * Forgets commands that are over and were ordered before `beforeMs`. What a device's operators want of it, and the highest counter of each key,
 * are read from its commands: those stay. Returns how many went.
 */
export const trimCommands = ({ db }: Store, of: { beforeMs: number; limit: number }): number =>
  db
    .query(
      `DELETE FROM commands WHERE seq IN (
         SELECT seq FROM commands c WHERE state IN ('answered', 'expired') AND createdMs < $beforeMs
           AND EXISTS (SELECT 1 FROM commands n WHERE n.device = c.device AND n.kid = c.kid AND n.ctr > c.ctr)
           AND (act NOT IN ('isolate', 'release')
             OR EXISTS (SELECT 1 FROM commands n WHERE n.device = c.device AND n.seq > c.seq AND n.act IN ('isolate', 'release')))
         ORDER BY seq LIMIT $limit)`,
    )
    .run(of).changes;

function record(row: Row): CommandRecord {
  return {
    jti: row.jti,
    device: row.device,
    act: row.act,
    kid: row.kid,
    operator: row.operator,
    state: row.state,
    createdMs: row.createdMs,
    expiresMs: row.expiresMs,
    ...(row.result === null ? {} : { result: CommandResult.parse(JSON.parse(row.result)) }),
  };
}
