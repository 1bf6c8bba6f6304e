// A line of text as events. Nobody knows in which form a sensor, a log or a judge hands a command over, so rules are measured on each.
import type { SensorEvent } from "@picket/protocol/event";
import { needsShell, pathOf, startsOf } from "./shell.ts";

export type Form = "device" | "shell" | "words" | "typed";

export const forms: Readonly<Record<Form, string>> = {
  device: "what a device sees of a script or a remote command: `bash -c LINE` where it needs a shell, and each program it starts",
  shell: "one event: `sh -c LINE`",
  words: "one event: the words of the line as they are typed, operators and quotes too; its program is the first word",
  typed: "only the programs that the line starts, as when somebody types it into a shell that runs already",
};

const SHELL_C = /^((?:\/\S*\/)?(?:ba|da|z|k|a)?sh)\s+(-[a-z]*c)\s+([\s\S]+)$/;

/** A program start that was recorded as one text, its arguments joined by spaces: what follows `sh -c` is one argument. */
export function recorded(text: string, parent = "/usr/bin/dash"): SensorEvent {
  const [, shell, flag, command] = SHELL_C.exec(text.trim()) ?? [];
  const argv = shell && flag && command ? [shell, flag, command] : text.trim().split(/\s+/);
  return programStart(argv, pathOf(argv[0] ?? ""), parent);
}

/** What the rules are given of a line. `parent`: the program that started it, where that is known. */
export function eventsOf(line: string, form: Form, parent = "/usr/bin/bash"): SensorEvent[] {
  switch (form) {
    case "shell":
      return [programStart(["sh", "-c", line], "/usr/bin/dash", parent)];
    case "words": {
      const words = line.trim().split(/\s+/);
      return [programStart(words, pathOf(words[0] ?? ""), parent)];
    }
    case "typed":
      return startsOf(line, parent).map(({ argv, exe, parent: of }) => programStart(argv, exe, of));
    case "device": {
      const typed = startsOf(line, parent).map(({ argv, exe, parent: of }) => programStart(argv, exe, of));
      return needsShell(line) || typed.length === 0 ? [programStart(["bash", "-c", line], "/usr/bin/bash", parent), ...typed] : typed;
    }
  }
}

/** The event of one program start. */
export function programStart(argv: readonly string[], exe: string, parent: string): SensorEvent {
  return {
    v: 1,
    device: "eval",
    epoch: "eval",
    seq: 0,
    timeMs: 0,
    type: "process.exec",
    body: { process: { pid: 0, startTicks: 0, ppid: 0, uid: -1, exe, argv: [...argv], parent: { pid: 0, exe: parent } } },
  };
}
