// The command as people and scripts call it: real processes against a small real site.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { anchorHash, type CommandResult } from "@picket/protocol/command";
import { formatToken } from "@picket/protocol/enroll";
import { type FakeSite, startFakeSite } from "@picket/tui/testing/fake-site";
import { madeAlert, madeDevice, madeOnline } from "@picket/tui/testing/made-up";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { initOperator } from "./operator/keys.ts";

const main = new URL("./main.ts", import.meta.url).pathname;
let site: FakeSite;
let home: string;

beforeAll(async () => {
  site = await startFakeSite();
  home = mkdtempSync(join(tmpdir(), "picket-cli-"));
  const { anchor } = (await initOperator({ home, site: "lab", name: "anna" })).public;
  site.enrolToken = tokenFor(anchorHash(anchor));
  writeFileSync(join(home, "site.json"), JSON.stringify(site.access), { mode: 0o600 });
});
afterAll(async () => {
  await site.stop();
  rmSync(home, { recursive: true, force: true });
});
beforeEach(() => {
  site.alerts.clear();
  site.devices.clear();
  site.commands.length = 0;
  site.orders.length = 0;
  site.onOrder = () => undefined;
  site.devices.set("gw-014", madeDevice("gw-014", { lastSeenMs: Date.now() }));
});

const tokenFor = (anchor: string) =>
  formatToken({ v: 1, site: "lab", https: "lab:8443", mqtt: "lab:8883", ca: "c".repeat(43), anchor, secret: "s".repeat(43) });

async function picket(...args: string[]) {
  const child = Bun.spawn([process.execPath, main, ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, PICKET_HOME: home },
  });
  const [out, err, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  return { out, err, code };
}

function answer(result: Pick<CommandResult, "ok" | "code" | "message">): void {
  site.onOrder = (command) =>
    site.push({
      kind: "command",
      command: { ...command, state: "answered", result: { v: 1, jti: command.jti, act: command.act, timeMs: 1, ...result } },
    });
}

const names =
  "up tui alerts alert devices device isolate release settings events token mesh sink doctor operator site broker detector rules model hunt replay demo".split(
    " ",
  );
test("--help lists every command, and each has its own", async () => {
  const { out, code } = await picket("--help");
  expect(code).toBe(0);
  for (const name of names) expect(out).toMatch(new RegExp(`^  ${name} `, "m"));
});

test.each([
  "tui",
  "alerts",
  "alert",
  "devices",
  "device",
  "isolate",
  "release",
  "events",
  "doctor",
  "broker",
  "detector",
  "token create",
  "mesh invite",
  "mesh join",
  "mesh list",
  "mesh leave",
  "mesh remove",
  "mesh mute",
  "mesh unmute",
  "mesh limit",
  "mesh unlimit",
  "mesh verdict",
  "mesh share-ioc",
  "mesh iocs",
  "settings",
  "settings set",
  "settings unset",
  "sink list",
  "sink test",
  "operator init",
  "operator list",
  "operator grant",
  "operator sign",
  "site init",
  "site show",
  "rules check",
  "rules match",
  "hunt",
  "replay",
])("%s --help has an example", async (name) => {
  const { out, code } = await picket(...name.split(" "), "--help");
  expect(code).toBe(0);
  expect(out).toMatch(new RegExp(`Examples?:\\n\\s+picket (--home \\S+ )?${name}`));
});

test("--help shows defaults as they would be typed", async () => {
  for (const [name, shown] of [
    ["isolate", /--dead-man[\s\S]*\(default: 24h\)[\s\S]*--valid[\s\S]*\(default:\s+24h\)/],
    ["release", /\(default:\s+24h\)/],
    ["token create", /\(default: 1h\)/],
  ] as const)
    expect((await picket(...name.split(" "), "--help")).out).toMatch(shown);
});

test("what was pasted does not steer the terminal when it is repeated", async () => {
  const { err, code } = await picket("device", "\u001B]0;owned\u0007\u001B[8mgw\u009B31m");
  expect(code).toBe(2);
  expect(err).toMatch(/a device's name is/);
  expect(err).not.toMatch(/[\u001B\u0007\u0080-\u009F]/);
});

test.each([
  [["nonsense"], /unknown command 'nonsense'/],
  [["alerts", "--shoes"], /unknown option '--shoes'/],
  [["alerts", "--severity", "awful"], /Allowed choices are low, medium, high, critical/],
  [["alerts", "--since", "soon"], /is not a time/],
  [["device", "A_B"], /a device's name is 1-63 of a-z/],
  [["isolate"], /missing required argument 'id'/],
  [["isolate", "gw-014", "--dead-man", "5s", "--yes"], /--dead-man takes 1m to 30d/],
  [["isolate", "gw-014"], /there is no terminal to ask[\s\S]*--yes/],
  [["device", "gw-014", "revoke"], /there is no terminal to ask[\s\S]*--yes/],
  [["alert", "6f2b4c1e", "note"], /note needs a text/],
  [["token", "create", "--ttl", "5s"], /--ttl takes 1m to 30d/],
])("%j is a usage error", async (args, words) => {
  const { err, out, code } = await picket(...args);
  expect({ code, out }).toEqual({ code: 2, out: "" });
  expect(err).toMatch(words);
  expect(site.orders).toEqual([]);
});

test.each([
  ["no home", ["--home", "/nonexistent", "devices"], /there is no \/nonexistent\/site\.json\n {2}to do: .*picket site init/],
  ["a device that is not there", ["device", "nobody"], /no such device: nobody\n {2}to do: See `picket devices`/],
  ["no terminal for the console", ["tui"], /needs a terminal\n {2}to do: .*picket alerts --follow/],
  ["a sink that refuses", ["sink", "test", "bad"], /bad did not take the test message: connection refused/],
  ["an alert nobody has", ["alert", "ffffffff"], /no alert's id begins with ffffffff/],
])("%s fails with what to do", async (_, args, words) => {
  const { err, code } = await picket(...args);
  expect(code).toBe(1);
  expect(err).toMatch(words);
});

test("a wrong token and a site that is away are told apart", async () => {
  const other = mkdtempSync(join(tmpdir(), "picket-cli-"));
  const write = (access: object) => writeFileSync(join(other, "site.json"), JSON.stringify({ ...site.access, ...access }));
  write({ token: "wrong-secret-token" });
  const wrong = await picket("--home", other, "devices");
  expect([wrong.code, wrong.err]).toEqual([1, expect.stringMatching(/no operator credential[\s\S]*to do: Check the token in site\.json/)]);
  expect(wrong.err).not.toContain("wrong-secret-token");
  write({ url: "https://127.0.0.1:1" });
  const away = await picket("--home", other, "devices");
  expect([away.code, away.err]).toEqual([
    1,
    expect.stringMatching(/cannot be reached: 127\.0\.0\.1:1: nothing listens there \(ECONNREFUSED\)\n {2}to do: Is the broker running/),
  ]);
  rmSync(other, { recursive: true });
});

test("devices and alerts as tables and as JSON", async () => {
  const alert = madeAlert("a", { rule: { id: "x", title: "evil \u001B[8mhidden\u009B31m", engine: "sigma" } });
  site.alerts.set(alert.id, alert);
  const devices = await picket("devices", "--json");
  expect(JSON.parse(devices.out)).toEqual({ devices: [...site.devices.values()] });
  expect((await picket("devices")).out).toMatch(/^gw-014 +100 % +- +0 +online$/m);
  const json = await picket("alerts", "--json", "--severity", "high", "--technique", "t1059");
  expect(JSON.parse(json.out)).toEqual(alert);
  expect(json.out).not.toMatch(/[\u001B\u0080-\u009F]/);
  const shown = await picket("alerts");
  expect(shown.out).toContain("evil hidden");
  expect(shown.out).not.toMatch(/[\u001B\u0080-\u009F]/);
  expect((await picket("alerts", "--severity", "low")).out).toBe("No alert matches.\n");
});

test("devices in trouble come first, and the sum of all last", async () => {
  const add = (id: string, over: Parameters<typeof madeDevice>[1]) => site.devices.set(id, madeDevice(id, over));
  add("a-quiet", {});
  add("old", { trust: "revoked", presence: "offline" });
  add("lossy", { coverage: { stored: 900, lost: 100, ratio: 0.9 } });
  add("shot", { presence: "offline", away: { how: "killed", sinceMs: 1 } });
  add("struck", { openAlerts: 3 });
  const rows = (await picket("devices")).out.trim().split("\n").slice(1);
  expect(rows.slice(0, -1).map((row) => row.split(" ")[0])).toEqual(["struck", "shot", "lossy", "a-quiet", "gw-014", "old"]);
  expect(rows.at(-1)).toBe("6 devices: 4 online, 1 away, 1 with open alerts, 1 with lost events, 1 revoked");
});

test("one device: what does not work and what to do, and which settings from the site it runs", async () => {
  const packs = [
    { kind: "settings", dev: "*", version: 4 },
    { kind: "settings", dev: "gw-014", version: 1, refused: { version: 2, why: "canaryS: takes 10 to 300" } },
  ];
  site.devices.set("gw-014", madeDevice("gw-014", { status: madeOnline({ packs, held: ["metricsS"] }) }));
  const { out } = await picket("device", "gw-014");
  expect(out).toMatch(/sensor +network is degraded: syscalls:\* tracepoints are missing\. To do: Update the kernel/);
  expect(out).toMatch(
    /settings +REFUSES version 2 of its own: canaryS: takes 10 to 300; version 4 for the whole site, version 1 of its own; its own configuration keeps metricsS\n/,
  );
});

test("alerts of a device that is not there are no empty answer", async () => {
  expect(await picket("alerts", "--device", "gw-014")).toMatchObject({ out: "No alert matches.\n", code: 0 });
  expect(await picket("alerts", "--device", "nosuch")).toMatchObject({ out: "", err: expect.stringContaining("nosuch"), code: 1 });
});

test("an alert is shown, and judged by the start of its id", async () => {
  const alert = madeAlert("a");
  site.alerts.set(alert.id, alert);
  const short = alert.id.slice(0, 8);
  expect((await picket("alert", short)).out).toMatch(
    /device {4}gw-014 \(online\)[\s\S]*What to do\n {2}Not expected\? Isolate the device now: picket isolate gw-014\n[\s\S]*Process tree[\s\S]*matched: Shell started by an unusual parent[\s\S]*Evidence[\s\S]*203\.0\.113\.9:4444/,
  );
  expect((await picket("alerts")).out).toMatch(new RegExp(`^${short} .*Reverse shell a +T1059 T1071$`, "m"));
  for (const args of [["ack"], ["assign", "anna"], ["note", "vendor update"], ["close"]])
    expect((await picket("alert", short, ...args)).code).toBe(0);
  expect(site.alerts.get(alert.id)).toMatchObject({ status: "closed", assignee: "anna", notes: [{ text: "vendor update" }] });
  expect(JSON.parse((await picket("alert", alert.id, "--json")).out).alert.id).toBe(alert.id);
});

test("isolate signs, waits in words and ends when the device has done it", async () => {
  answer({ ok: true, code: "done", message: "" });
  const { out, err, code } = await picket("isolate", "gw-014", "--yes", "--dead-man", "4h", "--reason", "drill");
  expect({ out, code }).toEqual({ out: "gw-014 is isolated: only its connection to the site is left.\n", code: 0 });
  expect(err).toContain("signing the order to isolate gw-014…");
  const [, payload = ""] = site.orders[0]!.jws.split(".");
  expect(JSON.parse(Buffer.from(payload, "base64url").toString())).toMatchObject({
    site: "lab",
    dev: "gw-014",
    act: "isolate",
    args: { deadManMs: 14_400_000, reason: "drill" },
  });
});

test.each([
  [
    "rolled-back",
    "the site was not reachable after the drop",
    /rolled the isolate back, nothing changed: the site was not reachable after the drop[\s\S]*to do:/,
  ],
  ["replayed", "counter 5 was seen", /refused to isolate \(replayed\): counter 5 was seen[\s\S]*second copy of your keys/],
  ["failed", "nft is missing", /could not isolate: nft is missing/],
] as const)("a device that answers %s makes the command fail with its reason", async (code, message, words) => {
  answer({ ok: false, code, message });
  const result = await picket("isolate", "gw-014", "--yes", "--json");
  expect(result.code).toBe(1);
  expect(result.err).toMatch(words);
  expect(JSON.parse(result.out).command.result).toMatchObject({ ok: false, code });
});

test("--no-wait leaves the order with the site", async () => {
  const { out, code } = await picket("isolate", "gw-014", "--yes", "--no-wait");
  expect([out, code]).toEqual(["The site has the order for gw-014; see `picket device gw-014` for how it goes.\n", 0]);
});

test("a token goes into a new private file, or to stdout alone", async () => {
  const file = join(home, "TOKEN");
  expect((await picket("token", "create", "--out", file)).code).toBe(0);
  expect([readFileSync(file, "utf8"), statSync(file).mode & 0o777]).toEqual([`${site.enrolToken}\n`, 0o600]);
  const again = await picket("token", "create", "--out", file);
  expect([again.code, again.err]).toEqual([1, expect.stringContaining("it exists already")]);
  expect(await picket("token", "create")).toEqual({ out: `${site.enrolToken}\n`, err: "", code: 0 });
});

test("a site that has no release yet has no line to paste, and says what to do", async () => {
  const { out, err, code } = await picket("token", "create", "--line");
  expect({ out, code }).toEqual({ out: "", code: 1 });
  expect(err).toMatch(/no machine can be installed from this site yet: [\s\S]*install\.sh --upgrade/);
});

test("a token that would bind a device to other operators is not handed out", async () => {
  const good = site.enrolToken;
  site.enrolToken = tokenFor("o".repeat(43));
  const { out, err, code } = await picket("token", "create");
  site.enrolToken = good;
  expect({ out, code }).toEqual({ out: "", code: 1 });
  expect(err).toMatch(/other operators' keys than yours/);
});

test("events are NDJSON with their ids, all pages of them", async () => {
  const { out } = await picket("events", "--json");
  expect(
    out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).id),
  ).toEqual(["gw-014:k3m9x0qa:41", "gw-014:k3m9x0qa:42"]);
  expect((await picket("events", "--type", "net.connect")).out).toMatch(/gw-014 {2}net\.connect {2}tcp to 203\.0\.113\.9:4444/);
});

test("events that the limit left out are told of; a limit to what has no end is refused", async () => {
  const { out, err, code } = await picket("events", "--limit", "1");
  expect([out.trim().split("\n").length, code]).toEqual([1, 0]);
  expect(err).toContain("there are later events too");
  expect((await picket("events", "--limit", "2")).err).toBe("");
  expect(await picket("events", "--limit", "5", "--follow")).toMatchObject({ code: 2, err: expect.stringContaining("exclude each other") });
});

test("--follow prints what arrives, also after the connection was lost, each once", async () => {
  const child = Bun.spawn([process.execPath, main, "alerts", "--follow", "--json"], {
    stdout: "pipe",
    stderr: "ignore",
    env: { ...process.env, PICKET_HOME: home },
  });
  const lines = linesOf(child.stdout);
  site.alerts.set(madeAlert("first").id, madeAlert("first"));
  expect(JSON.parse(await lines()).rule.title).toBe("Reverse shell first");
  site.cut();
  site.push({ kind: "alert", alert: madeAlert("while away") });
  expect(JSON.parse(await lines()).rule.title).toBe("Reverse shell while away");
  child.kill("SIGINT");
  expect([await lines(), await child.exited]).toEqual(["", 0]);
});

/** Reads the next line each time; an empty one at the end. */
function linesOf(stream: ReadableStream<Uint8Array>): () => Promise<string> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  return async () => {
    for (;;) {
      const end = rest.indexOf("\n");
      if (end >= 0) {
        const line = rest.slice(0, end);
        rest = rest.slice(end + 1);
        return line;
      }
      const { done, value } = await reader.read();
      if (done) return "";
      rest += decoder.decode(value, { stream: true });
    }
  };
}

test("doctor tells keys of another site from a healthy one and exits 1", async () => {
  site.devices.set("shut", madeDevice("shut", { isolationWanted: true, status: madeOnline({ isolation: { state: "isolated" } }) }));
  const { out, err, code } = await picket("doctor");
  expect(out).toMatch(/^ok {6}isolated by order, until `picket release NAME`: shut$/m);
  expect(out).toMatch(/^ok {6}operator anna of site lab may isolate, release/m);
  expect(out).toMatch(/^ERROR {3}the site was made for other operator keys[\s\S]*to do:/m);
  expect(out).toMatch(/^warning gw-099 is offline\n {8}to do: Check its power\.$/m);
  expect([code, err]).toEqual([1, "picket: 1 thing is wrong\n"]);
});
