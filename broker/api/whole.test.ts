// The API and the sinks inside the whole broker: what a device does comes out at both ends.
import type { Alert } from "@picket/protocol/alert";
import type { Incident } from "@picket/protocol/incident";
import { STREAM_PATH } from "@picket/protocol/rest";
import { Webhook } from "standardwebhooks";
import { expect, test } from "vitest";
import { connect, enrol, mine, testSite } from "../testing/site.ts";

const SECRET = `whsec_${Buffer.alloc(32, 9).toString("base64")}`;

test("an alert the broker raises reaches the live stream, the list and a webhook", async () => {
  const arrived = Promise.withResolvers<{ type: string; data: { incident: Incident; alerts: Alert[] } }>();
  const soc = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      arrived.resolve(new Webhook(SECRET).verify(await request.text(), Object.fromEntries(request.headers)) as never);
      return new Response();
    },
    error: (error) => {
      arrived.reject(error);
      return new Response("", { status: 401 });
    },
  });
  try {
    await using site = await testSite({ config: { sinks: [{ name: "soc", url: `http://127.0.0.1:${soc.port}/`, secret: SECRET }] } });
    const device = await enrol(site, "gw-014");
    const url = `https://localhost:${site.broker.httpsPort}${STREAM_PATH}`;
    const stream = await fetch(url, { headers: { authorization: `Bearer ${site.token}` }, tls: { ca: site.ca } });
    const client = await connect(site, device);
    await client.publishAsync(mine(device, "events"), "no batch", { qos: 1 });

    const { type, data } = await arrived.promise;
    const [alert] = data.alerts;
    expect([type, data.incident.device, data.incident.id]).toEqual(["incident.created", "gw-014", alert!.incident]);
    const { json } = await site.api("GET", "/v1/alerts?device=gw-014");
    expect((json as { alerts: { id: string }[] }).alerts.map(({ id }) => id)).toEqual([alert!.id]);
    let told = "";
    for await (const chunk of stream.body!.pipeThrough(new TextDecoderStream())) {
      told += chunk;
      if (told.includes(`"kind":"alert"`) && told.includes(`"kind":"incident"`) && told.includes(alert!.id)) break;
    }
    const doctor = await site.api("GET", "/v1/doctor");
    expect(JSON.stringify(doctor.json)).toContain("1 message from gw-014 could not be read");
    await client.endAsync(true);
  } finally {
    await soc.stop(true);
  }
});
