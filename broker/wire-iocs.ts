// Lists of indicators: what imports them, what shows them, what gives them to the detector, and what makes lists of what other sites share.
import type { Given } from "./given.ts";
import { IocDetector } from "./ioc/detector.ts";
import { Imports } from "./ioc/imports.ts";
import { MeshLists } from "./ioc/mesh.ts";
import { type IocsPort, iocLists } from "./iocs.ts";
import { trimMet } from "./store/iocs.ts";

/** How often lists of other sites are brought up to date, and imports that stopped are ended. */
export const IOCS_MS = 5000;

export type IocParts = {
  readonly detector: IocDetector;
  readonly port: IocsPort;
  sweep(): Promise<void>;
};

export function startIocs({ store, nowMs }: Given, report: (error: unknown) => void): IocParts {
  const detector = new IocDetector({ store, nowMs, report });
  const changed = () => detector.changed();
  const imports = new Imports({ store, nowMs, changed });
  const mesh = new MeshLists({ store, imports, nowMs, changed, report });
  return {
    detector,
    port: iocLists({ store, imports, loaded: () => detector.loaded, changed }),
    sweep: async () => {
      await imports.sweep();
      await mesh.follow();
      store.commitNow(() => trimMet(store));
      detector.wake();
    },
  };
}
