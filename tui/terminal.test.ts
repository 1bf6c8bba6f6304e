// The console in a real terminal: tmux is the terminal, its capture is what an operator's eyes get.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type FakeSite, startFakeSite } from "./testing/fake-site.ts";
import { madeAlert, madeDevice, madeOnline } from "./testing/made-up.ts";

const reason = Bun.which("tmux") ? undefined : "skipped: tmux is not installed";
const terminalTest = (name: string, run: () => Promise<void>) =>
  test.skipIf(reason !== undefined)(reason ? `${name} (${reason})` : name, run, 60_000);

const program = new URL("./testing/console.ts", import.meta.url).pathname;
const EVIL = "\u001B[8mhidden\u001B]0;owned\u0007\u001B]8;;http://198.51.100.7\u0007link\u009B31m\u001B[2J\u001B[?1049l name";
let site: FakeSite;
let folder: string;
let socket: string;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "picket-terminal-"));
  socket = join(folder, "tmux");
  site = await startFakeSite();
  const now = Date.now();
  const seen = { lastSeenMs: now, certificateExpiresMs: now + 86_400_000 };
  site.devices.set("gw-014", madeDevice("gw-014", { ...seen, openAlerts: 1 }));
  site.devices.set("gw-015", madeDevice("gw-015", seen));
  const when = { firstMs: now - 60_000, lastMs: now };
  for (const alert of [
    madeAlert("nginx", { severity: "critical", ...when }),
    madeAlert("evil", {
      severity: "high",
      ...when,
      rule: { id: "x", title: EVIL, engine: "sigma" },
      tree: [{ depth: 0, pid: 6, exe: `/tmp/${EVIL}`, argv: [`${EVIL}`, EVIL.replaceAll(" ", "")], matched: [EVIL] }],
      summary: EVIL,
    }),
  ])
    site.alerts.set(alert.id, alert);
  await Bun.write(join(folder, "site.json"), JSON.stringify(site.access));
});

afterEach(async () => {
  await tmux("kill-server").catch(() => undefined);
  await site.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function tmux(...args: string[]): Promise<string> {
  const child = Bun.spawn(["tmux", "-S", socket, "-f", "/dev/null", "-u", ...args], {
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, TMUX: "" },
  });
  const [out, err, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  if (code !== 0) throw new Error(`tmux ${args[0]}: ${err}`);
  return out;
}

const start = (before = "") =>
  // The shell stays, so that the terminal can be looked at after the console has ended.
  tmux(
    "new-session",
    "-d",
    "-x",
    "80",
    "-y",
    "24",
    `${before} '${process.execPath}' '${program}' '${join(folder, "site.json")}' 3000; exec sh`,
  );
const screen = () => tmux("capture-pane", "-p");
const keys = (...names: string[]) => tmux("send-keys", ...names);
const type = (text: string) => tmux("send-keys", "-l", text);

/** Waits until the screen shows it. */
async function shows(words: RegExp): Promise<string> {
  let last = "";
  const until = performance.now() + 20_000;
  while (performance.now() < until) {
    last = await screen();
    if (words.test(last)) return last;
    await Bun.sleep(50);
  }
  return expect.fail(`the screen never showed ${words}:\n${last}`);
}

/** The device answers each order as told. */
function answers(result: { ok: boolean; code: "done" | "rolled-back"; message: string }): void {
  site.onOrder = (command) => {
    const reply = { v: 1 as const, jti: command.jti, act: command.act, timeMs: Date.now(), ...result };
    site.push({ kind: "command", command: { ...command, state: "answered", result: reply } });
    if (result.ok)
      site.push({
        kind: "device",
        device: madeDevice(command.device, { isolationWanted: true, status: madeOnline({ isolation: { state: "isolated" } }) }),
      });
  };
}

terminalTest("the alert shows; isolating asks, needs the whole name, and says when the device has done it", async () => {
  answers({ ok: true, code: "done", message: "" });
  await start();
  await shows(/▸ CRITICAL .*gw-014 .*Reverse shell nginx/);
  await keys("i");
  await shows(/ISOLATE gw-014/);
  await type("gw-01");
  await keys("Enter");
  await shows(/confirm: gw-01▏/);
  expect(site.orders).toEqual([]);
  await type("4");
  await keys("Enter");
  await shows(/done: gw-014 is isolated/);
  expect(site.orders).toEqual([{ device: "gw-014", jws: "isolate.gw-014.signature" }]);
  await keys("2");
  await shows(/gw-014 .*ISOLATED/);
});

terminalTest("an alert that arrives while the operator reaches for the key does not change whom it hits", async () => {
  await start();
  await shows(/▸ CRITICAL .*nginx/);
  site.push({
    kind: "alert",
    alert: madeAlert("newer", { severity: "critical", device: "gw-015", firstMs: Date.now(), lastMs: Date.now() + 1000 }),
  });
  const now = await shows(/Reverse shell newer/);
  expect(now.indexOf("newer")).toBeLessThan(now.indexOf("nginx"));
  await keys("i");
  await shows(/ISOLATE gw-014/);
});

terminalTest("a roll-back is shown with the device's reason", async () => {
  answers({ ok: false, code: "rolled-back", message: "the site was not reachable after the drop" });
  await start();
  await shows(/nginx/);
  await keys("i");
  await shows(/ISOLATE gw-014/);
  await type("gw-014\r");
  await shows(/failed: gw-014 rolled the isolate back/);
});

terminalTest("escape sequences of a device do not reach the terminal", async () => {
  await start();
  await shows(/hiddenlink/);
  await keys("Down", "Enter");
  await shows(/What to do/);
  for (const key of ["w", "PageDown", "PageUp"]) {
    await keys(key);
    await shows(/Esc back/);
    const raw = await tmux("capture-pane", "-p", "-e");
    expect(raw).not.toMatch(/\u001B\[(?:[\d;]*;)?8m|\u001B\]|[\u0080-\u009F]/);
  }
  const [title, alternate] = (await tmux("display-message", "-p", "#{pane_title}|#{alternate_on}")).trim().split("|");
  expect(title).not.toContain("owned");
  expect(alternate).toBe("1");
});

terminalTest("what is pasted is text in a question and no keys anywhere else, whether the terminal marks it or not", async () => {
  await start();
  await shows(/nginx/);
  await tmux("set-buffer", "first line\ntwo isolate lines");
  for (const marked of [["-p"], []]) {
    await tmux("paste-buffer", ...marked);
    await shows(/that looked like a paste: nothing was done/);
    await keys("Down", "Up");
  }
  await keys("n");
  await shows(/Note for this incident/);
  await tmux("paste-buffer", "-p");
  await shows(/first line two isolate lines▏/);
  await keys("Escape");
  await shows(/▸ CRITICAL/);
  await keys("n");
  await shows(/Note for this incident[^▏]*\n {2}▏/);
  // Unmarked, its line end saves the note; what follows presses nothing.
  await tmux("paste-buffer");
  expect(await shows(/note saved/)).not.toMatch(/ISOLATE|assigned to/);
  const judged = [...site.alerts.values()].filter((alert) => alert.notes.length > 0 || alert.assignee || alert.status !== "open");
  expect(judged.map(({ notes, assignee, status }) => [notes.map(({ text }) => text), assignee, status])).toEqual([
    [["first line"], undefined, "open"],
  ]);
  expect(site.orders).toEqual([]);
});

terminalTest("it follows the terminal's size", async () => {
  await start();
  await shows(/nginx/);
  for (const [columns, rows] of [
    [140, 40],
    [80, 24],
    [100, 30],
  ] as const) {
    await tmux("resize-window", "-x", String(columns), "-y", String(rows));
    // The last row of keys stands in the last row of the terminal, the first fact in the first: nothing scrolled off.
    await shows(new RegExp(`^ .*lab.*1 CRITICAL(?:.*\\n){${rows - 1}}.*q quit\\s*$`));
  }
});

terminalTest("a lost site is said, with how old the data is; when it is back the banner goes", async () => {
  await start();
  await shows(/nginx/);
  // Streams end, and the silence limit of the test console is 3 s, so the sign of life stops too.
  const { port } = new URL(site.access.url);
  const { certificate } = site;
  await site.stop();
  await shows(/site unreachable for \d+ s, showing data of \d\d:\d\d:\d\d/);
  site = await startFakeSite({ port: Number(port), certificate });
  site.alerts.set(madeAlert("after").id, madeAlert("after"));
  const back = await shows(/Reverse shell after/);
  expect(back).not.toMatch(/unreachable/);
});

terminalTest("q and Ctrl-C give the terminal back as it was", async () => {
  for (const [index, key] of ["q", "C-c"].entries()) {
    if (index === 0) await start();
    else await type(`'${process.execPath}' '${program}' '${join(folder, "site.json")}'\r`);
    await shows(/▸ CRITICAL/);
    await keys(key);
    // The prompt too: what is typed while a process ends is dropped with its terminal settings.
    await shows(/console ended\n[#$]/);
    expect((await tmux("display-message", "-p", "#{alternate_on}|#{cursor_flag}")).trim()).toBe("0|1");
    // The shell echoes what is typed again, which raw mode had switched off.
    await type("clear; stty -a | grep -qE '(^| )echo( |;|$)' && printf 'REST%s\\n' ORED\r");
    await shows(/^RESTORED/m);
    await type("clear\r");
  }
});

terminalTest("NO_COLOR is obeyed", async () => {
  await start("NO_COLOR=1");
  await shows(/▸ CRITICAL/);
  expect(await tmux("capture-pane", "-p", "-e")).not.toMatch(/\u001B\[(?:[\d;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]/);
});
