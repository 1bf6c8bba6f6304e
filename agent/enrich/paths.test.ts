import { expect, test } from "vitest";
import { resolvePath } from "./paths.ts";

const AT_FDCWD = -100;
const bases = {
  directory: (fd: number) => ({ [AT_FDCWD]: "/home/pi", 5: "/etc" })[fd],
  cwd: (pid: number) => (pid === 9 ? "/etc" : undefined),
};

test.each([
  ["/etc/shadow", AT_FDCWD, "/etc/shadow"],
  ["/tmp/../etc//./shadow", AT_FDCWD, "/etc/shadow"],
  ["../../etc/shadow", AT_FDCWD, "/etc/shadow"],
  ["../../../../../etc/shadow", AT_FDCWD, "/etc/shadow"],
  ["shadow", 5, "/etc/shadow"],
  [".", 5, "/etc"],
  ["/etc/", AT_FDCWD, "/etc"],
  ["/", AT_FDCWD, "/"],
  ["/proc/self/root/etc/shadow", AT_FDCWD, "/etc/shadow"],
  ["/proc/1/root/etc/shadow", AT_FDCWD, "/etc/shadow"],
  ["/proc/9/cwd/shadow", AT_FDCWD, "/etc/shadow"],
  ["/proc/self/cwd/../x", AT_FDCWD, "/proc/self/x"],
  ["/proc/1/root/proc/1/root/etc/shadow", AT_FDCWD, "/etc/shadow"],
  ["/proc/self/rootkit", AT_FDCWD, "/proc/self/rootkit"],
  ["shadow", 6, undefined],
])("%s from %i is %s", (path, fd, expected) => {
  expect(resolvePath(path, fd, bases)).toBe(expected);
});
