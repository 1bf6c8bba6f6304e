// A webhook receiver as a customer would write it: checks the signature with the standard library, prints what was signed right.
import { Webhook } from "standardwebhooks";
import { WEBHOOK_SECRET } from "./site.ts";

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  async fetch(request) {
    const body = await request.text();
    try {
      console.log(JSON.stringify(new Webhook(WEBHOOK_SECRET).verify(body, Object.fromEntries(request.headers))));
      return new Response();
    } catch (error) {
      console.log(`REFUSED ${String(error)}`);
      return new Response("bad signature", { status: 401 });
    }
  },
});
console.log(`receiving on ${server.port}`);
