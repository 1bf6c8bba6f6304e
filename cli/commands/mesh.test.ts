// The mesh as operators type it: two real sites in this process, the command as programs of its own.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { detectionAt, type MeshSite, meshSite } from "../../broker/mesh/testing/sites.ts";
import { until } from "../../broker/testing/site.ts";

const main = new URL("../main.ts", import.meta.url).pathname;

test("invite, join, list, mute, limit, share and leave, with what they say", async () => {
  await using north = await meshSite("north");
  await using south = await meshSite("south");
  const folder = mkdtempSync(join(tmpdir(), "picket-mesh-"));
  const at = async (site: MeshSite, ...args: string[]) => {
    const home = join(folder, site.name);
    const child = Bun.spawn([process.execPath, main, "--home", home, ...args], {
      cwd: folder,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const [out, err, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
    return { out, err, code };
  };
  try {
    for (const site of [north, south]) {
      Bun.spawnSync(["mkdir", "-p", join(folder, site.name)]);
      const access = { url: `https://127.0.0.1:${site.broker.httpsPort}`, ca: site.ca, token: site.token, site: site.name };
      writeFileSync(join(folder, site.name, "site.json"), JSON.stringify(access));
    }
    const none = await at(north, "mesh", "list");
    expect([none.code, none.out]).toEqual([0, expect.stringMatching(/^No peer\./)]);

    const file = join(folder, "INVITE");
    const invited = await at(north, "mesh", "invite", "--host", "127.0.0.1", "--out", file);
    expect([invited.code, invited.err]).toEqual([
      0,
      expect.stringMatching(/good for one site until .*\nNext, at the other site: picket mesh join/),
    ]);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect((await at(north, "mesh", "invite", "--host", "192.0.2.77")).err).toMatch(/not in this site's certificate/);
    const joined = await at(south, "mesh", "join", "--token-file", file);
    expect([joined.code, joined.out]).toEqual([0, expect.stringMatching(/^Joined north at 127\.0\.0\.1:\d+\./)]);
    expect(await at(south, "mesh", "join", "--token-file", file)).toMatchObject({
      code: 1,
      err: expect.stringMatching(/was used, or has expired/),
    });
    writeFileSync(file, "nonsense");
    expect((await at(south, "mesh", "join", "--token-file", file)).err).toMatch(/this is no invitation to a mesh/);

    await north.raise(detectionAt("north"));
    await until(async () => (await south.alerts("mesh")).length === 1, "the alert at south");
    const alerts = JSON.parse(`[${(await at(south, "alerts", "--origin", "mesh", "--json")).out.trim().replaceAll("\n", ",")}]`);
    expect(alerts).toMatchObject([{ site: "north", origin: { site: "north", trust: "peer" } }]);
    expect((await at(south, "alerts")).out).toContain("north/gw-014");
    const shown = await at(south, "alert", alerts[0].id);
    expect(shown.out).toMatch(/device\s+gw-014 of the site north/);
    expect(shown.out).not.toContain("picket isolate");

    expect((await at(south, "mesh", "share-ioc", "ip", "203.0.113.9", "--confidence", "90")).code).toBe(0);
    await until(async () => (await at(north, "mesh", "iocs")).out.includes("203.0.113.9"), "the indicator at north");
    expect((await at(north, "mesh", "mute", "south")).out).toMatch(/^south: muted/);
    expect((await at(north, "mesh", "limit", "south", "--rate", "5")).out).toMatch(/at most 5 items a second/);
    const list = await at(north, "mesh", "list");
    expect(list.out).toMatch(/south\s+(connected|away).*nothing \(muted\)/);
    expect((await at(north, "mesh", "unmute", "south")).code).toBe(0);
    expect((await at(north, "mesh", "limit", "nobody", "--rate", "5")).err).toMatch(/no peer "nobody"/);
    expect((await at(south, "mesh", "leave")).out).toBe("Left: north.\n");
    expect(JSON.parse((await at(south, "mesh", "list", "--json")).out)).toMatchObject({ site: "south", peers: [] });
    expect(readFileSync(join(folder, "south", "site.json"), "utf8")).toContain("south");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 60_000);
