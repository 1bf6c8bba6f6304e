// Run as a program: several simulated devices. Everything between an event and the wire is the agent's own code; only the sensor is made up.
// SIGUSR1: make no more events, and print "drained" when the site has all. SIGTERM: stop as an agent does.

import { readFileSync } from "node:fs";
import { bootNowMs } from "../../agent/clock.ts";
import { AgentConfig } from "../../agent/config.ts";
import { readIdentity } from "../../agent/enroll/files.ts";
import { thisHost, version } from "../../agent/host.ts";
import { createLog } from "../../agent/log.ts";
import { type Recorder, startRecorder } from "../../agent/recorder.ts";
import { splitHostPort } from "../../agent/site-tls.ts";
import { startUplink, type Uplink } from "../../agent/uplink/uplink.ts";
import type { EventDraft } from "../../protocol/event.ts";
import { seeded } from "../../protocol/seeded.ts";
import type { OnlineStatus } from "../../protocol/status.ts";
import { type Diary, openDiary } from "./diary.ts";
import { draftOf, type Habit, type Make, makes } from "./workload.ts";

export type FleetFile = {
  /** Instead of the broker's own address: the proxy. */
  readonly via: string;
  readonly devices: readonly { readonly state: string; readonly diary: string; readonly habit: Habit }[];
};

const HEARTBEAT_MS = 2000;
const TICK_MS = 100;
const DRAIN_MS = 10_000;

type Device = {
  readonly name: string;
  readonly recorder: Recorder;
  readonly uplink: Uplink;
  readonly told: () => OnlineStatus | undefined;
};

const file: FleetFile = JSON.parse(readFileSync(process.argv[2]!, "utf8"));
const devices: Device[] = [];
let working = true;

const log = createLog("warn", (line) => void process.stderr.write(line));

function startDevice(of: FleetFile["devices"][number]): void {
  const { identity, credentials } = readIdentity(of.state);
  const config = AgentConfig.parse({ state: of.state, ...of.habit.config });
  const diary = openDiary(of.diary);
  const recorder = startRecorder(config, identity.device, log);
  const { epoch, buffer } = recorder;
  diary.epoch(epoch, bootNowMs());
  let told: OnlineStatus | undefined;
  const uplink = startUplink({
    site: identity.site,
    device: identity.device,
    epoch,
    credentials: () => credentials,
    targets: () => [{ ...splitHostPort(identity.mqtt), addresses: [file.via] }],
    source: {
      connected: () => buffer.connected(),
      lease: (max) => buffer.lease(max),
      release: (lease) => buffer.release(lease),
      waiting: () => buffer.waiting(),
      ack: (lease) => {
        diary.acknowledged(
          lease.epoch,
          lease.events.map(({ seq }) => seq),
        );
        buffer.ack(lease);
      },
    },
    outbox: { pending: () => [], delivered: () => {} },
    status: () => statusOf(recorder),
    onHeartbeat: (status) => {
      told = status;
      buffer.reported(status.epochs);
    },
    onCommand: () => {},
    onPack: () => {},
    onConnected: () => {},
    onDisconnected: () => {},
    onGarbage: (what) => console.error(`${identity.device}: ${what}`),
    heartbeatMs: HEARTBEAT_MS,
  });
  buffer.onAvailable = uplink.wake;
  devices.push({ name: identity.device, recorder, uplink, told: () => told });
  void work({ recorder, diary, habit: of.habit, device: identity.device });
}

async function work(of: { recorder: Recorder; diary: Diary; habit: Habit; device: string }): Promise<void> {
  const random = seeded([...of.recorder.epoch].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7));
  for (let tick = 0, made = 0; ; tick++) {
    await Bun.sleep(TICK_MS);
    if (!working) return;
    for (const make of makes(of.habit, tick, random)) attempt(of, make, made++);
    await Bun.sleep(0);
    of.diary.turn(of.recorder.produced());
  }
}

/** The diary first, then the agent. */
function attempt({ recorder, diary, device }: { recorder: Recorder; diary: Diary; device: string }, make: Make, nth: number): void {
  const seq = recorder.produced();
  const timeMs = Date.now();
  const what = make.kind === "plain" ? `${recorder.epoch}.${nth}` : `${recorder.epoch}.${make.group}`;
  diary.attempt({ seq, atMs: bootNowMs(), timeMs, kind: make.kind, what });
  recorder.emit(draftOf({ device, timeMs, kind: make.kind, what }) as EventDraft);
  if (recorder.produced() === seq) diary.shed();
}

const { boot, arch, kernel } = thisHost();

function statusOf(recorder: Recorder): OnlineStatus {
  return {
    v: 1,
    state: "online",
    timeMs: Date.now(),
    ...{ boot, epoch: recorder.epoch, version, arch, kernel },
    uptimeS: bootNowMs() / 1000,
    capabilities: [],
    isolation: { state: "off" },
    keysVersion: 0,
    produced: recorder.produced(),
    lost: { kernel: 0, ...recorder.lost() },
    bufferLost: { by: recorder.bufferLost(), epochs: recorder.buffer.lostByEpoch() },
    buffer: recorder.buffer.size(),
    epochs: recorder.buffer.epochs(),
    rssBytes: process.memoryUsage.rss(),
    cpuS: process.cpuUsage().user / 1e6,
  };
}

process.on("SIGUSR1", async () => {
  working = false;
  // What the recorder counts becomes an event within a second; then all must be there, and the site must have been told so.
  await Bun.sleep(1500);
  const started = file.devices.length;
  const isDone = ({ recorder, told }: Device) =>
    recorder.buffer.size().events === 0 && told()?.produced === recorder.produced() && told()?.buffer.events === 0;
  while (devices.length < started || !devices.every(isDone)) await Bun.sleep(100);
  console.log("drained");
});
process.on("SIGTERM", async () => {
  working = false;
  for (const { recorder } of devices) recorder.stop("SIGTERM");
  await Promise.all(devices.map(({ uplink }) => uplink.stop(DRAIN_MS)));
  for (const { recorder } of devices) recorder.buffer[Symbol.dispose]();
  process.exit(0);
});

// One that cannot start ends all, and is started again, as a service manager does it: its disk may be full just now.
file.devices.forEach(startDevice);
console.log("fleet runs");
