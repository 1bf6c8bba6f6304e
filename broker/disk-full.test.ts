// Promise 1 on a disk that is full: a real small file system, filled under a real broker. Nothing is acknowledged that is not stored, and it goes on by itself.
import { closeSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Alert } from "@picket/protocol/alert";
import { decodeBatch, encodeBatch } from "@picket/protocol/batch";
import type { Finding } from "@picket/protocol/rest";
import mqtt, { type MqttClient } from "mqtt";
import { expect, test } from "vitest";
import { createIdentity, readAuthority } from "./pki/certificates.ts";
import { initSite, readSite } from "./site.ts";
import { addCertificate, addDevice } from "./store/devices.ts";
import { readBatches } from "./store/log.ts";
import { openStore } from "./store/schema.ts";
import { anchor, BOOT, type Credentials, callApi, makeBatch, mine, optionsOf, SITE, until, urlOf } from "./testing/site.ts";

const MIB = 1 << 20;
const RESERVE = 6 * MIB;
const EPOCH = "diskfull";
const isRoot = process.getuid?.() === 0;

async function makeSite(dir: string): Promise<{ ca: string; token: string; who: Credentials }> {
  const made = await initSite({ dir, site: SITE, hosts: ["localhost"], operator: { anchor: anchor() } });
  const nowMs = Date.now();
  const authority = await readAuthority(readSite(dir).ca);
  const { key, certificate, serial, notAfterMs } = await createIdentity(authority, { role: "device", name: "gw-1", nowMs });
  using store = openStore(join(dir, "site.db"));
  store.commitNow(() => {
    addDevice(store, "gw-1", nowMs);
    addCertificate(store, { serial, role: "device", name: "gw-1", issuedMs: nowMs, notAfterMs });
  });
  return { ...made, who: { role: "device", name: "gw-1", key, cert: certificate } };
}

/** A broker on a file system of 40 MiB, which ends with it: the mount is in a namespace of its own. */
async function startOnSmallDisk(root: string) {
  const [disk, site] = [join(root, "disk"), join(root, "site")];
  mkdirSync(disk);
  const child = new URL("testing/child.ts", import.meta.url).pathname;
  const script = `mount -t tmpfs -o size=40m pkbrk-disk "$1" && cp -a "$2" "$1/site" && exec bun "$3" "$1/site" "$4"`;
  const config = JSON.stringify({ log: { reserveBytes: RESERVE } });
  const broker = Bun.spawn(["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", disk, site, child, config], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const reader = broker.stdout.getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the broker ended before it listened");
    text += new TextDecoder().decode(value);
  }
  const inside = `/proc/${broker.pid}/root${disk}`;
  const filler = join(inside, "filler");
  return {
    ...(JSON.parse(text) as { mqttPort: number; httpsPort: number }),
    /** Fills the disk until so many bytes are free. */
    fillTo: (leaveBytes: number) => {
      const file = openSync(filler, "w");
      const block = Buffer.alloc(64 << 10, 1);
      try {
        for (;;) {
          const { bavail, bsize } = statfsSync(inside);
          const spare = bavail * bsize - leaveBytes;
          if (spare <= 0) break;
          writeSync(file, block, 0, Math.min(block.length, spare));
        }
      } catch (error) {
        if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
      } finally {
        closeSync(file);
      }
    },
    free: () => rmSync(filler),
    /** The database as it lies on disk now, somewhere it can be read. */
    copy: (to: string) => {
      for (const end of ["", "-wal"])
        if (existsSync(join(inside, `site/site.db${end}`))) copyFileSync(join(inside, `site/site.db${end}`), to + end);
    },
    kill: async () => {
      broker.kill("SIGKILL");
      await broker.exited;
    },
  };
}

/** A batch of random text: half a megabyte that no compression makes small. */
const large = (first: number) =>
  Buffer.from(
    encodeBatch({
      boot: BOOT,
      oldest: 0,
      events: Array.from({ length: 100 }, (_, at) => ({
        ...{ v: 1 as const, device: "gw-1", epoch: EPOCH, seq: first + at, timeMs: 1, type: "log.line" as const },
        body: { source: "test", message: crypto.getRandomValues(Buffer.alloc(2000)).toString("base64") },
      })),
    }),
  );

test.skipIf(!isRoot)(
  "below the reserve events wait and alerts do not; a disk that is full to the last byte loses nothing that was acknowledged (needs root for a mount)",
  async () => {
    const root = mkdtempSync(join(tmpdir(), "pkbrk-disk-"));
    const { ca, token, who } = await makeSite(join(root, "site"));
    const broker = await startOnSmallDisk(root);
    const api = (method: string, path: string, body?: unknown) => callApi({ port: broker.httpsPort, ca, token }, method, path, body);
    const findings = async () => ((await api("GET", "/v1/doctor")).json as { findings: Finding[] }).findings.map(({ what }) => what);
    const alerts = async () =>
      ((await api("GET", "/v1/alerts")).json as { alerts: Alert[] }).alerts.filter(({ rule }) => rule.id === "picket-broker-disk");
    const waits = async () => (await findings()).some((what) => what.includes("events wait on their devices"));
    const acknowledged = new Set<number>();
    let client: MqttClient | undefined;
    let next = 0;
    /** Publishes as a device does: until it is acknowledged, over as many connections as that takes. */
    const publish = async (count: number, batch = makeBatch("gw-1", EPOCH, next, count)): Promise<void> => {
      const first = next;
      next += count;
      for (;;) {
        try {
          client ??= await mqtt.connectAsync(urlOf(broker.mqttPort), { ...optionsOf({ ca }, who), keepalive: 5 }, false);
          client.on("error", () => {});
          const dead = new Promise<never>((_, reject) => client?.once("close", () => reject(new Error("cut"))));
          await Promise.race([client.publishAsync(mine(who, "events"), batch, { qos: 1 }), dead]);
          break;
        } catch {
          client?.end(true);
          client = undefined;
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      }
      for (let seq = first; seq < first + count; seq++) acknowledged.add(seq);
    };
    try {
      await publish(50);
      broker.fillTo(RESERVE / 2);
      await until(waits, "the finding");
      const waiting = publish(50);
      await until(async () => (await alerts()).length === 1, "the alert, written from the reserve");
      expect((await alerts())[0]?.summary).toContain("events wait on their devices: only");
      expect(acknowledged.size).toBe(50);
      // Heartbeats and an operator's decision are written from the reserve.
      const [alert] = await alerts();
      expect((await api("PATCH", `/v1/alerts/${alert!.id}`, { note: "seen" })).status).toBe(200);
      broker.free();
      await waiting;
      await until(async () => !(await waits()), "the end of the finding");
      await until(async () => /They are taken again/.test((await alerts())[0]?.summary ?? ""), "the end of the alert");

      // To the last byte, faster than anybody looks: the write itself fails.
      broker.fillTo(0);
      const second = publish(100, large(next));
      await until(waits, "the finding");
      expect(acknowledged.size).toBe(100);
      broker.free();
      await second;
      await until(async () => !(await waits()), "the end of the finding");
      expect((await api("GET", "/v1/site")).status).toBe(200);
      client?.end(true);
      broker.copy(join(root, "copy.db"));
    } finally {
      client?.end(true);
      await broker.kill();
    }
    using store = openStore(join(root, "copy.db"));
    const inLog = readBatches(store, 0, 1e6).flatMap((row) => decodeBatch(row.batch).events.map(({ seq }) => seq));
    expect(inLog.toSorted((a, b) => a - b)).toEqual([...acknowledged].toSorted((a, b) => a - b));
    rmSync(root, { recursive: true, force: true });
  },
  90_000,
);
