import type { Scene } from "./scene.ts";

/** What a watcher reported of the storm, and what it says it lost. */
export type Seen = {
  readonly opens: number;
  readonly execs: number;
  readonly connects: number;
  readonly accepts: number;
  readonly lost: number;
};

export type Watching = AsyncDisposable & {
  /** Processes whose CPU time is the watcher's. */
  readonly pids: readonly number[];
  /** The file its report grows in. */
  readonly output: string;
  /** Reads the report; called once it has stopped growing. */
  seen(): Promise<Seen>;
};

export type Watcher = {
  readonly name: "picket" | "auditd" | "bpftrace";
  /** Starts watching `scene.watched` for opens, everything for program starts, and `scene.deeds` for connections both ways. Resolves when it watches. */
  start(scene: Scene): Promise<Watching>;
};
