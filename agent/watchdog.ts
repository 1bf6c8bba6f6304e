// Tells systemd that the event loop turns: an agent that hangs is ended and restarted (WatchdogSec= in the unit; sd_watchdog_enabled(3)).

type Env = Readonly<Record<string, string | undefined>>;

/** Pings in the time after which systemd gives up on us. */
const PINGS = 3;

/** Pings at once and from then on. Undefined where nobody waits for it; then nothing is loaded. */
export async function keepWatchdog(env: Env): Promise<Disposable | undefined> {
  const { NOTIFY_SOCKET: name, WATCHDOG_USEC: us, WATCHDOG_PID: pid } = env;
  const everyMs = Number(us) / 1000 / PINGS;
  if (!name || !(everyMs > 0) || (pid !== undefined && Number(pid) !== process.pid)) return undefined;
  const { openNotify } = await import("./bpf/notify.ts");
  const socket = openNotify(name);
  if (!socket) return undefined;
  socket.send("WATCHDOG=1");
  const timer = setInterval(() => socket.send("WATCHDOG=1"), everyMs);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
