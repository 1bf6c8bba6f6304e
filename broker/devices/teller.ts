// Alerts and changes of devices: raised in a transaction, told to listeners after it.
import { raise } from "../broker-alert.ts";
import type { Changes } from "../changes.ts";
import type { Store } from "../store/database.ts";

/** What happened in a transaction. */
export type Told = { readonly alerts: { id: string; created: boolean }[]; readonly devices: string[] };

type Ports = { readonly site: string; readonly store: Store; readonly changes: Changes; readonly nowMs: () => number };

export class Teller {
  readonly #ports: Ports;

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  raise(told: Told, of: Omit<Parameters<typeof raise>[1], "site" | "nowMs">): void {
    const { id, change } = raise(this.#ports.store, { ...of, site: this.#ports.site, nowMs: this.#ports.nowMs() });
    if (change !== "unchanged") told.alerts.push({ id, created: change === "created" });
  }

  async commit(work: (told: Told) => void): Promise<void> {
    const told: Told = { alerts: [], devices: [] };
    await this.#ports.store.commitSoon(() => {
      // A transaction that is tried again tells once.
      told.alerts.length = told.devices.length = 0;
      work(told);
    });
    for (const { id, created } of told.alerts) this.#ports.changes.tell({ kind: "alert", id, created });
    for (const device of new Set(told.devices)) this.#ports.changes.tell({ kind: "device", device });
  }
}
