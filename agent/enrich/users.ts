// User names and home directories from /etc/passwd. Not getpwnam: a directory server that hangs must not stop the sensor.
import { readFileSync, statSync } from "node:fs";

export type User = { readonly name: string; readonly uid: number; readonly home: string };

/** The lines of passwd(5) that make sense. */
export function parsePasswd(text: string): User[] {
  return text.split("\n").flatMap((line) => {
    const [name = "", , uid = "", , , home = ""] = line.split(":");
    return name !== "" && /^\d+$/.test(uid) ? [{ name, uid: Number(uid), home }] : [];
  });
}

const RECHECK_MS = 5_000;

/** Looks up names by uid; reads the file again when an unknown uid turns up and the file has changed. */
export function userNames(path: string, nowMs: () => number): (uid: number) => string | undefined {
  let names = new Map<number, string>();
  let modified = -1;
  let checkedMs = Number.NEGATIVE_INFINITY;
  const reload = () => {
    checkedMs = nowMs();
    try {
      const { mtimeMs } = statSync(path);
      if (mtimeMs === modified) return;
      modified = mtimeMs;
      // The first line of a uid wins, as in getpwuid(3).
      names = new Map(
        parsePasswd(readFileSync(path, "utf8"))
          .reverse()
          .map(({ uid, name }) => [uid, name.slice(0, 64)]),
      );
    } catch {
      modified = -1; // No such file: uids stay numbers.
    }
  };
  return (uid) => {
    if (!names.has(uid) && nowMs() - checkedMs >= RECHECK_MS) reload();
    return names.get(uid);
  };
}

/** Whether the user `uid` is called `name`, by the file as it is now. Where it knows neither, as of users of a directory server, that may be. */
export function mayBeCalled(path: string): (uid: number, name: string) => boolean {
  return (uid, name) => {
    let users: User[] = [];
    try {
      users = parsePasswd(readFileSync(path, "utf8"));
    } catch {}
    const same = users.filter((user) => user.uid === uid);
    return same.length === 0 ? users.every((user) => user.name !== name) : same.some((user) => user.name === name);
  };
}

/** Replaces a leading "~/" by every home directory that is one. */
export function expandHomes(prefixes: readonly string[], users: readonly User[], isDirectory: (path: string) => boolean): string[] {
  const homes = new Set(users.map(({ home }) => home.replace(/\/+$/, "")).filter((home) => home.startsWith("/") && isDirectory(home)));
  return [
    ...new Set(prefixes.flatMap((prefix) => (prefix.startsWith("~/") ? [...homes].map((home) => home + prefix.slice(1)) : [prefix]))),
  ];
}

/** `expandHomes` with the users this host has at the moment; none where /etc/passwd cannot be read. */
export function homesOfThisHost(): (prefixes: readonly string[]) => string[] {
  let users: User[] = [];
  try {
    users = parsePasswd(readFileSync("/etc/passwd", "utf8"));
  } catch {}
  return (prefixes) => expandHomes(prefixes, users, isDirectory);
}

const isDirectory = (path: string) => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
