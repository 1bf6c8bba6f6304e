// The table of chains: sequences that mean more than their parts. `match.ts` reads it; `leaves.ts` says what devices remember for longer.
import { DERIVED_MS, isFresh } from "../freshness.ts";
import { baseName } from "../text.ts";
import { findBurst, isWorkOfTool } from "./burst.ts";
import * as rules from "./chain-rules.ts";
import { BEATS, FILES } from "./counted.ts";
import { secondsOf } from "./marks.ts";
import { type Chain, finder, type Link, LONG_MS, type Scene, type Way } from "./match.ts";
import { isWithin, lineage, type ProcessNode, type Step } from "./node.ts";
import { isInMemory } from "./places.ts";
import { discovery, health, isNoisyTool, isShell, isUsualPort } from "./programs.ts";
import { devicesOf, ordinalOf, SITE_HABIT } from "./sightings.ts";
import {
  impairs,
  isFetcher,
  isLogger,
  isRemoteTool,
  isSession,
  isUploader,
  isWebServer,
  mayBecomeRoot,
  scriptOf,
  stepsOut,
} from "./tools.ts";
import { traitsOf } from "./traits.ts";

const starts = ["shell", "exec"] as const;
const isInterpreting = ({ exe }: ProcessNode): boolean => traitsOf(exe).shell || traitsOf(exe).interpreter;
const isOddProgram = (exe: string): boolean => traitsOf(exe).odd;

/** Somebody is logged in there from elsewhere. */
const isInSession = (node: ProcessNode, nowMs: number): boolean =>
  lineage(node, nowMs).some((above, hop) => hop > 0 && isSession(above.exe));

/**
 * Whether a shell was started by what connected. Where it was only started beside it, the port decides: `curl` and then `sh`
 * is what every installer does, `nc` to an odd port and then `sh` is not. Package tools run `sh -c` after every download.
 */
const isLed = (shell: Step, { nowMs }: Scene, [, connection]: readonly Step[]): boolean =>
  !connection!.noisy && (isWithin(connection!.node, shell.node, nowMs) || !isUsualPort(connection!.port));

/** The subject read credentials, or is the shell or script whose child did. */
const isOwnRead = (read: Step, { subject }: Scene): boolean =>
  read.node === subject || (read.parent === subject && isInterpreting(subject));

/** What was brought from the network: the program itself, or the script that an interpreter runs. */
const fetched = ({ exe, argv }: Pick<Step, "exe" | "argv">, { marked }: Scene) =>
  marked("fetched", exe) ?? marked("fetched", scriptOf(exe, argv) ?? "");

/** Not below a package tool, a build or a manager of configurations: they fetch, write and run as their work. */
const isNobodysWork = (step: Step, { nowMs }: Scene): boolean => !isWorkOfTool(step.node, nowMs);

/** Serves pages: by its name, or an interpreter that was connected to just before. */
const serves = (node: ProcessNode, { nowMs }: Scene): boolean =>
  isWebServer(node.exe, node.argv) ||
  (traitsOf(node.exe).interpreter &&
    node.deeds.length > 0 &&
    !isNoisyTool(node.exe, node.argv) &&
    node.deeds.some((deed) => deed.kind === "accept" && deed.node === node && isFresh(deed.receivedMs, nowMs, LONG_MS)));

const looksAround = (step: Step): boolean =>
  discovery.has(step.program) ||
  isFetcher(step.exe, step.argv) ||
  (step.program === "cat" && step.argv.some((arg) => arg.startsWith("/etc/")));
const look: Link = {
  kinds: starts,
  is: (step, _, found) => looksAround(step) && !found.slice(1).some((before) => before.program === step.program),
};
/** The second look. Flows and dashboards of one's own show load, disks and addresses: below an interpreter one of both must ask for more. */
const lookFurther: Link = {
  kinds: starts,
  is: (step, scene, found) =>
    look.is!(step, scene, found) &&
    (isWebServer(scene.subject.exe, scene.subject.argv) || [...found.slice(1), step].some(({ program }) => !health.has(program))),
};

/** Files that tell who did what here, touched by something that does not keep them. */
const isWiped = (step: Step): boolean =>
  step.place === "log" &&
  !step.contained &&
  !isLogger(step.exe) &&
  !(isShell(step.exe) && step.path.endsWith("_history") && step.kind !== "delete");

/** A rule matched on what led to it, before. */
const wasOdd = (step: Step, nowMs: number): boolean =>
  lineage(step.node, nowMs).some(
    (node, hop) =>
      hop > 0 &&
      node.hits.some((hit) => !hit.chain && hit.rule.alerts && hit.timeMs < step.timeMs && isFresh(hit.receivedMs, nowMs, DERIVED_MS)),
  );

const SSH_HOSTS = 5;
const sshTo: Link = {
  kinds: ["connect"],
  is: (step, _, found) => isRemoteTool(step.program) && (step.port === 22 || step.port === 2222) && !found.some(({ ip }) => ip === step.ip),
};

const reachesHost: Link = {
  kinds: ["write", "mount", "shell", "exec"],
  is: (step) =>
    step.contained &&
    !step.noisy &&
    (step.kind === "mount"
      ? /^\/dev\/(?!shm|pts|mqueue)|^cgroup/.test(step.path)
      : step.kind === "write"
        ? step.place === "host"
        : stepsOut(step.program, step.argv)),
};
/** Run by the kernel itself, as what core_pattern and release_agent name: its parent is kthreadd. */
const isByKernel = (step: Step): boolean =>
  step.node.process?.ppid === 2 || (step.parent !== undefined && baseName(step.parent.exe) === "kthreadd");

const isArchiveIn = (step: Step, { marked }: Scene) => {
  for (const arg of step.argv) {
    const path = arg.slice(Math.max(0, arg.indexOf("/")));
    const mark = path.startsWith("/") ? marked("staged", path) : undefined;
    if (mark) return mark;
  }
  return undefined;
};

const isOwnFile = (gone: Step, _: Scene, found: readonly Step[]): boolean => found.some((start) => start.exe === gone.path);
const sameProcess = (step: Step, _: Scene, [start]: readonly Step[]): boolean => step.node === start!.node;
const oddStart: Link = { kinds: starts, is: (step, scene) => step.node === scene.subject && isOddProgram(step.exe) && !step.noisy };
const isOddProcess = (subject: ProcessNode): boolean => isOddProgram(subject.exe);

/** A destination that few of the site know, and this device since just now. */
const isNewFarEnd = ({ far }: Step): boolean => far !== undefined && ordinalOf(far) <= 5 * BEATS && devicesOf(far) < SITE_HABIT;

const table: readonly Chain[] = [
  {
    rule: rules.reverseShell,
    ways: [
      {
        links: [
          { kinds: ["shell"], is: (step, { subject }) => step.node === subject },
          { kinds: ["connect"] },
          { kinds: ["shell"], is: isLed },
        ],
      },
    ],
  },
  { rule: rules.credentialAccess, ways: [{ links: [{ kinds: ["read"], is: isOwnRead }, { kinds: starts }] }] },
  { rule: rules.burst, find: findBurst },
  { rule: rules.dropper, ways: [{ links: [{ kinds: starts, is: isNobodysWork }], after: fetched }] },
  {
    rule: rules.miner,
    ways: [
      {
        links: [{ kinds: ["busy"] }],
        after: ({ node }, { marked }) => marked("mining", `${node.pid}:${node.exe}`),
        group: ({ node }) => `${node.pid}:${node.exe}`,
      },
    ],
  },
  {
    rule: rules.webshell,
    ways: [
      {
        of: serves,
        links: [{ kinds: starts, is: ({ parent }, { subject }) => parent === subject }, look, lookFurther],
        withinMs: 60_000,
        ifRare: (steps) => steps.flatMap(({ pair }) => pair ?? []),
      },
      {
        links: [
          {
            kinds: starts,
            is: (step) =>
              step.parent !== undefined && isWebServer(step.parent.exe, step.parent.argv) && (isShell(step.exe) || looksAround(step)),
          },
        ],
        after: (_, { marked }) => marked("script", ""),
      },
    ],
  },
  {
    rule: rules.beacon,
    ways: [
      {
        links: [{ kinds: ["beacon"], is: (step, scene) => isNewFarEnd(step) && isNobodysWork(step, scene) }],
        after: ({ sinceMs }, { marked }) => {
          const mark = marked("persisted", "");
          return mark && secondsOf(sinceMs) > mark.atS ? mark : undefined;
        },
        // By program, not by process: it may be started again for each call.
        group: ({ exe, argv, ip }) => `${scriptOf(exe, argv) ?? exe} ${ip}`,
      },
    ],
  },
  {
    rule: rules.bruteForce,
    ways: [
      {
        links: [{ kinds: starts, is: ({ parent, exe }) => parent !== undefined && isSession(parent.exe) && !isSession(exe) }],
        after: (_, { marked }) => marked("entered", ""),
      },
    ],
  },
  {
    rule: rules.logWiping,
    ways: [
      {
        links: [
          {
            kinds: ["delete", "write", "rename"],
            is: (step, { nowMs }) => isWiped(step) && (isInSession(step.node, nowMs) || wasOdd(step, nowMs)),
          },
        ],
      },
    ],
  },
  {
    rule: rules.lateralSsh,
    ways: [
      {
        links: [
          { kinds: ["read"], is: (step) => /\/\.ssh\/id/.test(step.path) && !isRemoteTool(step.program) },
          { kinds: starts, is: (step) => isRemoteTool(step.program) },
        ],
        withinMs: LONG_MS,
      },
      {
        of: (subject, { nowMs }) => isInterpreting(subject) && isInSession(subject, nowMs),
        links: Array.from({ length: SSH_HOSTS }, () => sshTo),
        withinMs: LONG_MS,
        ifRare: (steps) => steps.flatMap(({ far }) => far ?? []),
      },
    ],
  },
  {
    rule: rules.containerEscape,
    ways: [
      {
        links: [
          reachesHost,
          { kinds: starts, is: (step, { nowMs }, [first]) => !step.contained && isWithin(first!.node, step.node, nowMs) },
        ],
        withinMs: LONG_MS,
      },
      { links: [{ kinds: starts, is: (step) => !step.contained && isByKernel(step) }], after: (_, { marked }) => marked("escaping", "") },
    ],
  },
  {
    rule: rules.iotBotnet,
    ways: [
      { links: [{ kinds: ["scan"] }], after: fetched },
      { links: [{ kinds: ["scan"], is: (step, scene) => isOddProgram(step.exe) && isNobodysWork(step, scene) }] },
    ],
  },
  {
    rule: rules.escalation,
    ways: [
      {
        links: [
          { kinds: ["setuid"], is: ({ exe, contained }) => !mayBecomeRoot(exe) && !contained },
          {
            kinds: ["write", "rename"],
            is: (step, { nowMs }, [first]) => step.place === "start" && isWithin(first!.node, step.node, nowMs),
          },
        ],
        withinMs: LONG_MS,
      },
    ],
  },
  {
    rule: rules.exfiltration,
    ways: [
      {
        links: [
          { kinds: starts, is: (step) => isUploader(step.program) },
          { kinds: ["connect"], is: sameProcess },
        ],
        withinMs: LONG_MS,
        after: isArchiveIn,
        ifRare: (steps) => steps.flatMap(({ far }) => far ?? []),
      },
    ],
  },
  {
    rule: rules.ransomware,
    ways: [
      {
        links: [{ kinds: ["mass"] }],
        after: ({ node, parent }, { marked }) => marked("note", node.key) ?? (parent && marked("note", parent.key)),
      },
      { links: [{ kinds: ["mass"], is: ({ count }) => count >= 2.5 * FILES }] },
    ],
  },
  {
    rule: rules.impairment,
    ways: [
      {
        of: isInterpreting,
        links: [
          { kinds: starts, is: (step, scene) => impairs(step.program, step.argv) && isNobodysWork(step, scene) },
          { kinds: starts, is: (step, scene) => isOddProgram(step.exe) && isNobodysWork(step, scene) },
        ],
        withinMs: LONG_MS,
      },
      {
        // By anybody on the device: then the program must have been brought.
        links: [{ kinds: starts, is: (step, scene) => fetched(step, scene) !== undefined && isNobodysWork(step, scene) }],
        after: (_, { marked }) => marked("impaired", ""),
      },
    ],
  },
  {
    rule: rules.fileless,
    ways: [
      {
        of: isOddProcess,
        links: [
          { kinds: starts, is: (step, { subject }) => step.node === subject && isInMemory(step.exe) },
          { kinds: ["connect"], is: sameProcess },
        ],
      },
      { of: isOddProcess, links: [oddStart, { kinds: ["delete"], is: isOwnFile }, { kinds: ["connect"], is: sameProcess }] },
      { of: isOddProcess, links: [oddStart, { kinds: ["connect"], is: sameProcess }, { kinds: ["delete"], is: isOwnFile }] },
    ] satisfies Way[],
  },
];

export const chains: readonly rules.ChainRule[] = table.map(({ rule }) => rule);
/** What a step completes. */
export const findChains = finder(table);
