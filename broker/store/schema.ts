// Every table owner with its migrations. Its key is stored in the database: never rename one.
import { absenceMigrations } from "./absences.ts";
import { alertsMigrations } from "./alerts.ts";
import { commandMigrations } from "./commands.ts";
import { correlatedMigrations } from "./correlated.ts";
import { credentialMigrations } from "./credentials.ts";
import { type Schema, Store } from "./database.ts";
import { deadLetterMigrations } from "./dead-letters.ts";
import { detectorMigrations } from "./detector.ts";
import { devicesMigrations } from "./devices.ts";
import { exceptionMigrations } from "./exceptions.ts";
import { incidentLinksMigrations } from "./incident-links.ts";
import { incidentsMigrations } from "./incidents.ts";
import { iocMigrations } from "./iocs.ts";
import { keyMigrations } from "./keys.ts";
import { laneMigrations } from "./lanes.ts";
import { ledgerMigrations } from "./ledger.ts";
import { logMigrations } from "./log.ts";
import { meshMigrations } from "./mesh.ts";
import { meshLogMigrations } from "./mesh-log.ts";
import { meshReceivedMigrations } from "./mesh-received.ts";
import { packMigrations } from "./packs.ts";
import { receivedMigrations } from "./received.ts";
import { ruleUseMigrations } from "./rule-use.ts";
import { samplesMigrations } from "./samples.ts";
import { sinkQueueMigrations } from "./sink-queue.ts";
import { tokensMigrations } from "./tokens.ts";

const schema: Schema = {
  log: logMigrations,
  deadLetters: deadLetterMigrations,
  received: receivedMigrations,
  devices: devicesMigrations,
  alerts: alertsMigrations,
  incidents: incidentsMigrations,
  incidentLinks: incidentLinksMigrations,
  detector: detectorMigrations,
  tokens: tokensMigrations,
  credentials: credentialMigrations,
  keys: keyMigrations,
  commands: commandMigrations,
  sinks: sinkQueueMigrations,
  mesh: meshMigrations,
  meshLog: meshLogMigrations,
  meshReceived: meshReceivedMigrations,
  samples: samplesMigrations,
  ledger: ledgerMigrations,
  absences: absenceMigrations,
  packs: packMigrations,
  ruleUse: ruleUseMigrations,
  lanes: laneMigrations,
  correlated: correlatedMigrations,
  iocs: iocMigrations,
  exceptions: exceptionMigrations,
};

/**
 * Opens the broker's database, making or migrating it. `path` may be ":memory:" where nothing needs to survive.
 * Throws `NewerSchema` when a later Picket wrote the file, and what SQLite says when it cannot be opened.
 */
export const openStore = (path: string): Store => new Store(path, schema);
