import { readFileSync } from "node:fs";
import { join } from "node:path";
import { SiteAccess } from "@picket/tui/client/access";
import { createClient, type SiteClient } from "@picket/tui/client/client";
import type { Command } from "commander";
import { resolveHome } from "./config.ts";
import { Failure } from "./failure.ts";
import { progress } from "./output.ts";

/** How to reach the site, from site.json in the operator's home. Throws `Failure`. */
export function readAccess(home: string): SiteAccess {
  const file = join(home, "site.json");
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new Failure(
      (error as NodeJS.ErrnoException).code === "ENOENT" ? `there is no ${file}` : `${file} cannot be read: ${(error as Error).message}`,
      "`picket site init` on the site's host writes a site.json: copy it there, or name another place with --home or PICKET_HOME. For a demo: run this as root in the folder that holds its .picket.",
    );
  }
  const access = SiteAccess.safeParse(tryJson(text));
  if (access.success) return access.data;
  // Names of fields only: one of them is a secret.
  const fields = access.error.issues.map((issue) => issue.path.join(".") || "not JSON").join(", ");
  throw new Failure(`${file} cannot be used: ${fields}`, "Copy it again from the site's host (`picket site init` wrote it).");
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The operator's home this command was called with. */
export const homeOf = (command: Command): string => resolveHome(command.optsWithGlobals<{ home?: string }>().home);

/** How long a command waits in silence, milliseconds. */
const QUIET_MS = 2000;

/** A client of the operator's site that says on a terminal when the site is slow to answer. Throws `Failure` when there is no site.json. */
export function siteOf(command: Command): SiteClient {
  const client = createClient(readAccess(homeOf(command)));
  if (!process.stderr.isTTY) return client;
  return {
    ...client,
    call: async (name, input) => {
      using line = progress(process.stderr);
      const slow = setTimeout(() => line.say(`waiting for the site at ${new URL(client.access.url).host}`), QUIET_MS);
      try {
        return await client.call(name, input);
      } finally {
        clearTimeout(slow);
      }
    },
  };
}
