// The real agent and a service manager's socket: it pings while its event loop turns.
import { dlopen, FFIType as T } from "bun:ffi";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { enrolledState, startAgentProcess } from "./testing/device.ts";
import { startTestBroker, testSite } from "./uplink/testing/broker.ts";
import { keepWatchdog } from "./watchdog.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const MSG_DONTWAIT = 0x40;

/** A datagram socket at a path, or with "@" under an abstract name, as systemd has one. */
function manager(name: string) {
  const { symbols: libc, close } = dlopen("libc.so.6", {
    socket: { args: [T.i32, T.i32, T.i32], returns: T.i32 },
    bind: { args: [T.i32, T.ptr, T.u32], returns: T.i32 },
    recv: { args: [T.i32, T.ptr, T.u64, T.i32], returns: T.i64 },
    close: { args: [T.i32], returns: T.i32 },
  });
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM, 0);
  const address = Buffer.concat([Buffer.from([AF_UNIX, 0]), Buffer.from(name.replace("@", "\0"))]);
  if (libc.bind(fd, address, address.length) !== 0) throw new Error(`cannot bind ${name}`);
  const bytes = Buffer.alloc(256);
  return {
    /** The next message that waits; undefined when none does. */
    next: (): string | undefined => {
      const count = Number(libc.recv(fd, bytes, bytes.length, MSG_DONTWAIT));
      return count < 0 ? undefined : bytes.toString("utf8", 0, count);
    },
    [Symbol.dispose]: () => {
      libc.close(fd);
      close();
    },
  };
}

test.each(["path", "abstract"])("a manager with a socket under a %s name is pinged, at once and again", async (kind) => {
  const dir = mkdtempSync(join(tmpdir(), "pkagt-notify-"));
  const name = kind === "path" ? join(dir, "notify") : `@picket-${process.pid}-${Date.now()}`;
  using systemd = manager(name);
  using _watchdog = await keepWatchdog({ NOTIFY_SOCKET: name, WATCHDOG_USEC: "60000", WATCHDOG_PID: String(process.pid) });
  expect(systemd.next()).toBe("WATCHDOG=1");
  await expect.poll(() => systemd.next(), { timeout: 10_000 }).toBe("WATCHDOG=1");
  rmSync(dir, { recursive: true });
});

test.each([
  ["no manager", {}],
  ["no watchdog", { NOTIFY_SOCKET: "/run/x" }],
  ["another process's", { NOTIFY_SOCKET: "/run/x", WATCHDOG_USEC: "1000000", WATCHDOG_PID: "1" }],
  ["a time that is none", { NOTIFY_SOCKET: "/run/x", WATCHDOG_USEC: "soon" }],
  ["a name that is none", { NOTIFY_SOCKET: "relative", WATCHDOG_USEC: "1000000" }],
])("%s is not pinged", async (_, env) => {
  expect(await keepWatchdog(env)).toBeUndefined();
});

test("a manager that is gone harms nobody", async () => {
  using watchdog = await keepWatchdog({ NOTIFY_SOCKET: "/nowhere/notify", WATCHDOG_USEC: "1000000" });
  expect(watchdog).toBeDefined();
});

test("the agent pings from its start on", async () => {
  const site = await testSite();
  await using broker = await startTestBroker(site);
  const { dir, config } = enrolledState(site, { mqtt: broker.port });
  using systemd = manager(join(dir, "notify"));
  const agent = startAgentProcess(["run", "--config", config], { NOTIFY_SOCKET: join(dir, "notify"), WATCHDOG_USEC: "300000" });
  await expect.poll(() => systemd.next(), { timeout: 20_000 }).toBe("WATCHDOG=1");
  await expect.poll(agent.stderr, { timeout: 20_000 }).toContain("agent runs");
  while (systemd.next() !== undefined);
  await expect.poll(() => systemd.next(), { timeout: 20_000 }).toBe("WATCHDOG=1");
  agent.kill("SIGTERM");
  expect(await agent.exited).toBe(0);
  rmSync(dir, { recursive: true, force: true });
}, 60_000);
