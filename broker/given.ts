// What every part of the broker is made from.
import type { BrokerConfig } from "./config.ts";
import type { Log } from "./peer.ts";
import type { Authority } from "./pki/certificates.ts";
import type { Site } from "./site.ts";
import type { Store } from "./store/database.ts";

export type Given = {
  readonly config: BrokerConfig;
  readonly site: Site;
  readonly store: Store;
  readonly nowMs: () => number;
  readonly log: Log;
  readonly authority: Authority;
};
