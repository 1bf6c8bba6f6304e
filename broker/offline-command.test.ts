// A command for a device that is away outlives its broker: kill -9 between the order and its delivery.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CommandRecord } from "@picket/protocol/rest";
import mqtt from "mqtt";
import { expect, test } from "vitest";
import { createIdentity, readAuthority } from "./pki/certificates.ts";
import { initSite, readSite } from "./site.ts";
import { addCertificate, addDevice } from "./store/devices.ts";
import { openStore } from "./store/schema.ts";
import { startKillable } from "./testing/killable.ts";
import { makeKeyring, signCommand, signKeyList } from "./testing/samples.ts";
import { type Credentials, callApi, mine, optionsOf, SITE, until, urlOf } from "./testing/site.ts";

test("commands ordered before kill -9 reach the device after it, in order and each once for a connection, until it answers", async () => {
  const root = mkdtempSync(join(tmpdir(), "pkbrk-command-"));
  const dir = join(root, "site");
  const keyring = await makeKeyring();
  const keys = await signKeyList(keyring, { version: 1, site: SITE });
  const { ca, token } = await initSite({ dir, site: SITE, hosts: ["localhost"], operator: { anchor: keyring.anchor, keys } });
  const nowMs = Date.now();
  const identity = await createIdentity(await readAuthority(readSite(dir).ca), { role: "device", name: "gw-1", nowMs });
  const who: Credentials = { role: "device", name: "gw-1", key: identity.key, cert: identity.certificate };
  {
    using store = openStore(join(dir, "site.db"));
    store.commitNow(() => {
      addDevice(store, "gw-1", nowMs);
      addCertificate(store, { serial: identity.serial, role: "device", name: "gw-1", issuedMs: nowMs, notAfterMs: identity.notAfterMs });
    });
  }
  const ordered: string[] = [];
  try {
    for (let round = 1; round <= 3; round++) {
      const broker = await startKillable(dir);
      const jws = await signCommand(keyring, { site: SITE, dev: "gw-1", ctr: round });
      const answer = await callApi({ port: broker.httpsPort, ca, token }, "POST", "/v1/devices/gw-1/commands", { jws });
      expect(answer.status).toBe(200);
      ordered.push(jws);
      await broker.kill();
    }
    for (let round = 0; round < 2; round++) {
      const broker = await startKillable(dir);
      const client = await mqtt.connectAsync(urlOf(broker.mqttPort), optionsOf({ ca }, who), false);
      const heard: string[] = [];
      client.on("error", () => {});
      client.on("message", (topic, payload) => topic === mine(who, "cmd") && heard.push(payload.toString()));
      await client.subscribeAsync([mine(who, "cmd"), mine(who, "pack")], { qos: 1 });
      await until(() => heard.length >= ordered.length);
      expect(heard).toEqual(ordered);
      const { commands } = (await callApi({ port: broker.httpsPort, ca, token }, "GET", "/v1/devices/gw-1")).json as {
        commands: CommandRecord[];
      };
      expect(commands.map(({ state }) => state)).toEqual(["sent", "sent", "sent"]);
      client.end(true);
      await broker.kill();
    }
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}, 60_000);
