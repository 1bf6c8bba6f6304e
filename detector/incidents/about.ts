// What an incident is told of an alert, or of what one of its processes did.
import type { StoryDeed } from "@picket/protocol/incident";

/** A process as a story names it. */
export type Actor = { readonly key: string; readonly pid: number; readonly exe: string; readonly argv: readonly string[] };

/** Where something happened. */
export type Where = {
  readonly device: string;
  /** The device's time, and the broker's. */
  readonly timeMs: number;
  readonly receivedMs: number;
  /** The process and those it came from, nearest first, as far as they belong to one session or service; empty where it is about none. */
  readonly line: readonly Actor[];
  /** What that session or service was started by: sshd, cron, init. Named in a story, shared by many. */
  readonly above?: Actor | undefined;
};

export type Deed = Omit<StoryDeed, "timeMs">;

/** Something a process did: where, and what, unless all it did was to start. */
export type Noted = Where & { readonly deed?: Deed | undefined; readonly gives: readonly string[] };

/** An alert, as far as it decides what it belongs to. */
export type About = Where & {
  /** What other alerts may know it by. */
  readonly gives: readonly string[];
  /** What it is looked for by, besides its processes. */
  readonly seeks: readonly string[];
  readonly deed?: Deed | undefined;
  /** What was done around it lately; asked for once an alert. */
  readonly around: () => readonly Noted[];
};

/** Names that tie alerts together. What is more than a kind and a short text is cut where they are made. */
export const handle = {
  /** The same process tree: the only one by which two incidents become one. */
  process: (key: string) => `p ${key}`,
  /** Written by an intruder, or judged bad. */
  file: (path: string) => `f ${path}`,
  hash: (sha256: string) => `h ${sha256}`,
  /** Of an alert: where it connected to, or was reached from. */
  address: (ip: string) => `a ${ip}`,
  /** Reached by a process of an incident, in passing. */
  passing: (ip: string) => `c ${ip}`,
  /** Whose login was accepted from an address of the incident. */
  session: (user: string) => `l ${user}`,
  /** Whose login or sudo an alert is about. */
  user: (user: string) => `u ${user}`,
} as const;
