// Every table owner with its migrations. Its key is stored in the database: never rename one.
import { commandMigrations } from "./commands.ts";
import { credentialMigrations } from "./credentials.ts";
import { keyMigrations } from "./keys.ts";
import type { Migrations } from "./migration.ts";
import { sinkQueueMigrations } from "./sink-queue.ts";

export const schema: Readonly<Record<string, Migrations>> = {
  credentials: credentialMigrations,
  keys: keyMigrations,
  commands: commandMigrations,
  sinks: sinkQueueMigrations,
};
