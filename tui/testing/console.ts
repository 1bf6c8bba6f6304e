// The console on a made-up site, for tests in a real terminal. Run by hand it shows how it looks: bun tui/testing/console.ts
import { SiteAccess } from "../client/access.ts";
import { createClient } from "../client/client.ts";
import { runConsole } from "../main.ts";

const access = SiteAccess.parse(await Bun.file(process.argv[2]!).json());
await runConsole({
  client: createClient(access, { silenceMs: Number(process.argv[3] ?? 15_000) }),
  sign: async (device, action) => `${action.act}.${device}.signature`,
  operator: "anna",
});
console.log("console ended");
