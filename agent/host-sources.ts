// What is seen without the kernel's tracepoints: logins and log lines, USB devices, critical files. Wires host/ with what it needs.
import { join } from "node:path";
import type { EventDraft } from "@picket/protocol/event";
import type { Capability } from "@picket/protocol/status";
import type { AgentConfig } from "./config.ts";
import { homesOfThisHost, mayBeCalled } from "./enrich/users.ts";
import { listenToUevents } from "./fallback/uevent.ts";
import { checkLogs, startLogs } from "./host/auth.ts";
import { startIntegrity } from "./host/integrity.ts";
import { startUsb } from "./host/usb.ts";

export type HostSources = Disposable & {
  /** Looks at an event on its way to the recorder. Never throws. */
  see(draft: EventDraft): EventDraft;
  capabilities(): Capability[];
};

/** `state`: the folder where they remember; without one, logs are read from now on, and files are not compared. What is switched off is not named. */
export function startHostSources(of: {
  readonly config: AgentConfig;
  readonly state: string | undefined;
  readonly emit: (draft: EventDraft) => void;
}): HostSources {
  const { config, state, emit } = of;
  const source = config.logs.source;
  const paths = config.integrity.paths;
  const logs =
    source === "off"
      ? undefined
      : startLogs({ source, path: state && join(state, "logs.json"), emit, isCalled: mayBeCalled("/etc/passwd") });
  const usb = startUsb({ listen: listenToUevents, emit });
  const integrity =
    state === undefined || paths.length === 0
      ? undefined
      : startIntegrity({
          paths: () => homesOfThisHost()(paths),
          path: join(state, "integrity.json"),
          everyS: config.integrity.everyS,
          emit,
        });
  const parts = [logs, usb, integrity];
  return {
    see: (draft) => integrity?.see(draft) ?? draft,
    capabilities: () => parts.flatMap((part) => part?.capability() ?? []),
    [Symbol.dispose]: () => {
      for (const part of parts) part?.[Symbol.dispose]();
    },
  };
}

/** What of it would work here, for `picket-agent check`. */
export function checkHostSources(): Capability[] {
  using usb = startUsb({ listen: listenToUevents, emit: () => {} });
  return [checkLogs(), usb.capability()];
}
