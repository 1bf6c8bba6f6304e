// `picket up --demo`: a whole site on one host. It keeps its data in ./.picket, and nothing runs on when it ends.
import { appendFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { initSite } from "@picket/broker/site";
import { createClient, type SiteClient } from "@picket/tui/client/client";
import { isolationOf } from "@picket/tui/words";
import { readAccess } from "../access.ts";
import { openConsole } from "../console.ts";
import { agentCommand } from "../executables.ts";
import { initOperator, loadPublic } from "../operator/keys.ts";
import { interrupted, startSite } from "../site-processes.ts";
import { type Supervised, supervise } from "../supervise.ts";
import { BadDemo } from "./bad-demo.ts";
import { createNamespace, deleteNamespace, HOST_IP, inNamespace, refuseSecond, refuseTakenPorts } from "./namespace.ts";
import { demoAttack } from "./on-device.ts";

const SITE = "demo";
const OPERATOR = "demo-operator";
const DEVICE = "demo-device";
const HTTPS_PORT = 8443;
const MQTT_PORT = 8883;
const READY_MS = 30_000;
const ONLINE_MS = 10_000;

export type Demo = { readonly home: string; readonly client: SiteClient; readonly failed: Promise<string>; stop(): Promise<void> };

/** Runs the demo in the foreground. Returns the exit code. */
export async function runDemo(of: { headless: boolean }): Promise<number> {
  const say = (text: string) => console.error(`demo: ${text}`);
  // Listening before anything is made: Ctrl-C while the demo starts must not leave half of it.
  const signal = interrupted();
  const demo = await startDemo(resolve(".picket"), say, of.headless ? (_, line) => console.error(line) : undefined);
  try {
    const end = Promise.race([signal, demo.failed]);
    const reason = await (of.headless ? end : watch(demo, end));
    if (reason === undefined) return 0;
    console.error(`picket: the demo cannot go on: ${reason}`);
    return 1;
  } finally {
    say("stopping; the kernel lets go of the sensor within seconds");
    await demo.stop();
  }
}

/** The console, until the operator quits or the demo ends. */
async function watch(demo: Demo, end: Promise<string | undefined>): Promise<string | undefined> {
  const closing = new AbortController();
  const console = openConsole({ ...demo, demoAttack: () => attackIfReachable(demo.client, closing.signal), signal: closing.signal });
  try {
    return await Promise.race([end, console.then(() => undefined)]);
  } finally {
    closing.abort();
    await console;
  }
}

async function attackIfReachable(client: SiteClient, signal: AbortSignal): Promise<string> {
  const { device } = await client.call("device", { params: { id: DEVICE } });
  if (isolationOf(device) !== "no") throw new BadDemo(`${DEVICE} is isolated: nobody reaches it`, "Release it first with r.");
  return demoAttack(() => undefined, signal);
}

/**
 * Keys, site, namespace, processes, enrolment: what is there already is kept. Throws `BadDemo`.
 * `onLine` takes what the processes log; without it the lines go to .picket/logs.
 */
export async function startDemo(dir: string, say: (text: string) => void, onLine?: (name: string, line: string) => void): Promise<Demo> {
  if (process.getuid?.() !== 0)
    throw new BadDemo("the demo loads eBPF programs and makes a network namespace, which only root may", "run sudo picket up --demo");
  await refuseSecond(HTTPS_PORT);
  const home = join(dir, "operator");
  const logs = join(dir, "logs");
  mkdirSync(logs, { recursive: true, mode: 0o700 });
  const log = onLine ?? ((name: string, line: string) => appendFileSync(join(logs, `${name}.log`), `${line}\n`));
  const config = await prepareSite(dir, home, say);

  await createNamespace();
  const site: Supervised[] = [];
  let agent: Supervised | undefined;
  const stop = async () => {
    // The device first: what it still has to say needs a site that listens.
    await agent?.stop();
    await Promise.all(site.map((one) => one.stop()));
    await deleteNamespace();
  };
  try {
    refuseTakenPorts(HOST_IP, [HTTPS_PORT, MQTT_PORT]);
    site.push(...startSite(config, log));
    const client = createClient(readAccess(home));
    const failed = () => Promise.race([...site, ...(agent ? [agent] : [])].map((one) => one.failed));
    say("starting broker and detector");
    await ready(client, failed());
    await enrolDevice(dir, client, say);
    say(`starting ${DEVICE}: it watches this host, from a network of its own`);
    const argv = inNamespace([...agentCommand(), "run", "--config", agentConfig(dir)]);
    agent = supervise({ name: "agent", argv }, log);
    await online(client, failed());
    say(onLine ? "runs; Ctrl-C ends it" : `opening the console; q ends the demo, logs are in ${short(logs)}`);
    return { home, client, failed: failed(), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Operator keys and a site with its configuration file, made once. Returns the path of that file. */
async function prepareSite(dir: string, home: string, say: (text: string) => void): Promise<string> {
  if (!existsSync(join(home, "public.json"))) {
    await initOperator({ home, site: SITE, name: OPERATOR });
    say(`made operator keys in ${short(home)}. They are local to this demo:`);
    say("  at a real site they never lie beside the broker");
  }
  const site = join(dir, "site");
  if (!existsSync(join(home, "site.json"))) {
    rmSync(site, { recursive: true, force: true });
    const made = await initSite({ dir: site, site: SITE, hosts: [HOST_IP], operator: loadPublic(home), operatorName: OPERATOR });
    const access = { url: `https://${HOST_IP}:${HTTPS_PORT}`, ca: made.ca, token: made.token, site: SITE };
    writeFileSync(join(home, "site.json"), JSON.stringify(access, null, 2), { mode: 0o600 });
    say(`made the site "${SITE}" in ${short(site)}`);
  }
  const config = join(dir, "site.toml");
  const text = `# Made by picket up --demo.\n[broker]\ndir = ${JSON.stringify(site)}\nhost = "${HOST_IP}"\nmqttPort = ${MQTT_PORT}\nhttpsPort = ${HTTPS_PORT}\n\n[detector]\ndir = ${JSON.stringify(site)}\nport = ${MQTT_PORT}\n`;
  if (!existsSync(config)) writeFileSync(config, text);
  return config;
}

const agentConfig = (dir: string) => join(dir, "agent.toml");

/** Enrols the device with a real token over HTTPS, the first time. */
async function enrolDevice(dir: string, client: SiteClient, say: (text: string) => void): Promise<void> {
  const state = join(dir, "agent");
  if (!existsSync(agentConfig(dir))) writeFileSync(agentConfig(dir), `# Made by picket up --demo.\nstate = ${JSON.stringify(state)}\n`);
  if (existsSync(join(state, "identity.json"))) return;
  const { token } = await client.call("createToken", { body: { ttlS: 600, uses: 1 } });
  const file = join(dir, "token");
  writeFileSync(file, token, { mode: 0o600 });
  try {
    const argv = [...agentCommand(), "enroll", "--config", agentConfig(dir), "--name", DEVICE, "--token-file", file];
    const child = Bun.spawn(inNamespace(argv), { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    const stderr = await new Response(child.stderr).text();
    if ((await child.exited) !== 0)
      throw new BadDemo(`the device could not be enrolled: ${stderr.trim()}`, "delete ./.picket and start the demo again");
    say(`enrolled ${DEVICE} with a one-time token over HTTPS`);
  } finally {
    rmSync(file, { force: true });
  }
}

/** Waits until the device has reported, so that the first picture is true; not for long, since it may be buffering for a site it cannot reach. */
async function online(client: SiteClient, failed: Promise<string>): Promise<void> {
  const until = performance.now() + ONLINE_MS;
  while (performance.now() < until) {
    const answer = await Promise.race([client.call("device", { params: { id: DEVICE } }).catch(() => undefined), failed]);
    if (typeof answer === "string" || answer?.device.presence === "online") return;
    await sleep(100);
  }
}

/** A path below the folder the demo was started in, as one would type it there. */
const short = (path: string) => `./${relative(process.cwd(), path)}`;

/** Waits until the site answers, for at most half a minute. */
async function ready(client: SiteClient, failed: Promise<string>): Promise<void> {
  const until = performance.now() + READY_MS;
  for (;;) {
    const answer = await Promise.race([client.call("site").catch((error: Error) => error), failed]);
    if (typeof answer === "string")
      throw new BadDemo(`the site cannot run: ${answer}`, `is another program using port ${HTTPS_PORT} or ${MQTT_PORT}?`);
    if (!(answer instanceof Error)) return;
    if (performance.now() > until)
      throw new BadDemo(`the site did not answer in ${READY_MS / 1000} s: ${answer.message}`, "look at ./.picket/logs/broker.log");
    await sleep(100);
  }
}
