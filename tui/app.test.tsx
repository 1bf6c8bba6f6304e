// Every screen at both sizes: exactly the terminal's rows, none wider than it, and no escape sequence of a device.
import type { Alert } from "@picket/protocol/alert";
import { renderToString } from "ink";
import { expect, test } from "vitest";
import { contextOf, Frame } from "./app.tsx";
import { cellsOf } from "./cells.ts";
import { reduce } from "./state/reduce.ts";
import { type ConsoleState, initialState, type Step } from "./state/state.ts";
import { fakeActions } from "./testing/fake-actions.ts";
import { madeAlert, madeCommand, madeDevice, madeEvents, madeLedger, madeOnline, madeSite } from "./testing/made-up.ts";

const nowMs = 1_700_000_100_000;
const sizes: [number, number][] = [
  [80, 24],
  [140, 40],
];

function draw(state: ConsoleState, columns: number, rows: number): string[] {
  const { act } = fakeActions();
  const at = contextOf(state, { dispatch: () => undefined }, act, columns, rows);
  return renderToString(<Frame at={at} color={false} />, { columns }).split("\n");
}

const alerts = [
  madeAlert("critical", { severity: "critical", notes: [{ timeMs: nowMs, operator: "anna", text: "asked the vendor" }] }),
  ...Array.from({ length: 40 }, (_, index) => madeAlert(`medium ${index}`, { severity: "medium", lastMs: nowMs - index * 1000 })),
  madeAlert("seen", { status: "acknowledged", assignee: "anna" }),
];
const devices = [
  madeDevice("gw-014", { openAlerts: 2 }),
  madeDevice("far-away", { presence: "offline", lastSeenMs: nowMs - 190_000 }),
  madeDevice("lossy", { coverage: { stored: 99_210, lost: 312, ratio: 0.99686 } }),
  madeDevice("shut", {
    isolationWanted: true,
    status: madeOnline({ isolation: { state: "isolated", sinceMs: nowMs - 60_000, reason: "drill" } }),
  }),
  madeDevice("new", { presence: "never", status: undefined, lastSeenMs: undefined, coverage: { stored: 0, lost: 0, ratio: 1 } }),
  madeDevice("gone", { trust: "revoked", presence: "offline" }),
];
const site = madeSite({ alerts: { open: 41, low: 0, medium: 40, high: 0, critical: 1 } });
const full = { kind: "snapshot", site, devices, alerts, nowMs } as const satisfies Step;
const state = (...steps: Step[]) => steps.reduce(reduce, { ...initialState(nowMs), views: [{ kind: "alerts" }] });
const id = madeAlert("critical").id;
const evidence: Step = { kind: "evidence", alert: id, evidence: { events: madeEvents(), revision: 0 } };
const history: Step & { kind: "history" } = {
  kind: "history",
  device: "gw-014",
  commands: [
    madeCommand({
      state: "answered",
      result: { v: 1, act: "isolate", ok: false, code: "rolled-back", message: "the site was not reachable after the drop", timeMs: nowMs },
    }),
  ],
};
const openAlert: Step = { kind: "open", view: { kind: "alert", id } };
const openDevice: Step = { kind: "open", view: { kind: "device", id: "gw-014" } };
const ask: Step = {
  kind: "ask",
  prompt: { kind: "order", act: "isolate", device: "gw-014", reason: "alert: Reverse shell", typed: "gw-0" },
};
const job = (outcome: "pending" | "failed", words: string): Step => ({
  kind: "job",
  job: { key: 1, act: "isolate", device: "gw-014", startedMs: nowMs - 12_000, outcome, words },
});
const lost: Step = {
  kind: "lost",
  why: "the site cannot be reached: 127.0.0.1:8443 (ECONNREFUSED).",
  hint: "Is the broker running?",
  nowMs: nowMs + 12_000,
};

const screens: [string, ConsoleState, RegExp[]][] = [
  ["before the first data", state(), [/Waiting for the site/]],
  ["an empty site", state({ ...full, alerts: [], devices: [] }), [/picket token create --out TOKEN/, /no devices/]],
  ["a quiet site", state({ ...full, alerts: [], site: madeSite() }), [/No open alerts\. All quiet/, /no open critical or high incident/]],
  [
    "alerts",
    state(full),
    [/1 CRITICAL {2}2\/5 offline {2}coverage 99\.68 %/, /▸ CRITICAL +3× .* gw-014 +Reverse shell critical/, /↓\d+ more/, /i isolate/],
  ],
  [
    "one alert",
    state(full, openAlert, evidence),
    [/Reverse shell critical/, /score 74 of 100 · seen 3×/, /└ \/usr\/sbin\/nginx/, /◆ Shell started by an unusual parent/],
  ],
  [
    "its end",
    state(full, openAlert, evidence, { kind: "move", by: 1000, last: 1000 }),
    [/net\.connect +tcp to 203\.0\.113\.9:4444/, /rule chain-reverse-shell by Picket authors/],
  ],
  [
    "devices",
    state(full, { kind: "list", list: "devices" }),
    [/far-away +OFFLINE +3 min/, /lossy +online .* 99\.68 %/, /shut .*ISOLATED/, /new +never seen/, /gone +revoked/],
  ],
  [
    "five hundred devices, far down",
    state(
      { ...full, devices: Array.from({ length: 500 }, (_, n) => madeDevice(`pi-${String(n).padStart(3, "0")}`)) },
      { kind: "list", list: "devices" },
      { kind: "move", by: 250 },
    ),
    [/↑2\d\d ↓2\d\d\)? +status/, /▸ pi-250/],
  ],
  ["no devices", state({ ...full, alerts: [], devices: [] }, { kind: "list", list: "devices" }), [/picket token create/]],
  ["one device", state(full, openDevice, history), [/network +not isolated/, /DEGRADED/, /missing\. To do: Update the kernel/]],
  [
    "one device with settings from the site",
    state(
      {
        ...full,
        devices: [madeDevice("gw-014", { status: madeOnline({ packs: [{ kind: "settings", dev: "*", version: 4 }], held: ["canaryS"] }) })],
      },
      openDevice,
    ),
    [/settings +version 4 for the whole site; its own configuration\s+keeps\s+canaryS/],
  ],
  [
    "one device: how many alerts, the worst first, before all else",
    state(full, { kind: "open", view: { kind: "device", id: "gw-014" } }, { ...history, ledger: madeLedger(nowMs) }),
    [/open alerts +1 CRITICAL, 40 medium[\s\S]*network +not isolated/],
  ],
  [
    "one device with its ledger",
    state(full, openDevice, { ...history, ledger: madeLedger(nowMs) }),
    [
      /by the hour +\d\d:\d\d ·+█+▁▃▅▇▆×▃\?\?█ \d\d:\d\d/,
      /▃ 50% .* · nothing/,
      /0 %, 1000 lost: 1000 dropped from its full buffer/,
      /unexplained +12 +missing/,
    ],
  ],
  [
    "devices that went",
    state(
      {
        ...full,
        devices: [
          madeDevice("cut", { presence: "offline", away: { how: "lost", sinceMs: nowMs } }),
          madeDevice("shot", { presence: "offline", away: { how: "killed", sinceMs: nowMs } }),
          madeDevice("dark", { presence: "offline", away: { how: "lost", sinceMs: nowMs, blackout: { devices: 23, back: 1 } } }),
        ],
      },
      { kind: "list", list: "devices" },
    ),
    [/cut +LOST/, /shot +KILLED/, /dark +BLACKOUT/],
  ],
  [
    "a question",
    state(full, ask),
    [
      /ISOLATE gw-014 \(online\)/,
      /lets itself go if it cannot reach the site for 24 h/,
      /Type the device's name to confirm: gw-0▏/,
      /\(type the name first\)/,
    ],
  ],
  [
    "a note",
    state(full, { kind: "ask", prompt: { kind: "note", alert: id, typed: "vendor update ".repeat(20) } }),
    [/Note for this alert/, /vendor update/],
  ],
  [
    "an order on its way",
    state(full, job("pending", "waiting for gw-014 (offline, last seen 3 min ago)")),
    [/isolate: waiting for gw-014 \(offline, last seen 3 min ago\)… 12 s/],
  ],
  [
    "an order that failed",
    state(full, job("failed", "gw-014 rolled the isolate back, nothing changed: the site was not reachable after the drop")),
    [/✗ failed: gw-014 rolled the isolate back/],
  ],
  [
    "a lost site",
    state(full, lost, { kind: "tick", nowMs: nowMs + 24_000 }),
    [/! site unreachable for 12 s, showing data of \d\d:\d\d:\d\d/, /Is\s+the\s+broker\s+running/],
  ],
  [
    "a dead detector",
    state({ ...full, site: { ...site, detector: { connected: false, lagBatches: 7, cursor: 1, refused: 0 } } }),
    [/! the detector is not connected: 7 batches wait/],
  ],
  [
    "a late detector",
    state({ ...full, site: { ...site, detector: { connected: true, lagBatches: 986, lagSeconds: 95, cursor: 1, refused: 0 } } }),
    [/! the detector is 1 min behind, 986 batches wait: new alerts come late/],
  ],
];

for (const [columns, rows] of sizes) {
  test.each(screens)(`${columns}x${rows}: %s`, (_, of, shows) => {
    const lines = draw(of, columns, rows);
    const text = lines.join("\n");
    for (const words of shows) expect(text).toMatch(words);
    expect(lines.length).toBe(rows);
    for (const row of lines) expect(cellsOf(row), row).toBeLessThanOrEqual(columns);
  });
}

test("the first screen of an alert says what, where, what to do, and which process, however deep and wordy it is", () => {
  const above = ["init", "sshd", "sshd", "bash", "tmux", "bash"].map((exe, depth) => ({
    depth,
    pid: depth + 1,
    exe,
    argv: [exe],
    matched: [],
  }));
  const wordy = madeAlert("wordy", {
    severity: "critical",
    summary: "sh ran a very long command and ".repeat(30),
    tree: [
      ...above,
      { depth: 6, pid: 77, exe: "/usr/bin/sh", argv: ["sh", "-c", "x".repeat(500)], matched: ["Downloaded and run"] },
      { depth: 7, pid: 78, exe: "/usr/bin/bash", argv: ["bash", "-i"], matched: ["Shell tied to a socket"] },
    ],
  });
  const of = state({ ...full, alerts: [wordy] }, { kind: "open", view: { kind: "alert", id: wordy.id } });
  const text = draw(of, 80, 24).join("\n");
  for (const words of [
    /CRITICAL Reverse shell wordy/,
    /on gw-014 \(online\)/,
    /sh ran a very long.* …$/m,
    /1\. Not expected\? Isolate the device now with i/,
    /… 5 more above\n {2}└ bash {2}\[6\]/,
    /└ \/usr\/bin\/sh -c x+… {2}\[77\]/,
    /◆ Downloaded and run/,
  ])
    expect(text).toMatch(words);
  const whole = draw(reduce(of, { kind: "toggle-wrap" }), 80, 100).join("\n");
  expect(whole).toMatch(/^ {2}init {2}\[1\]/m);
  expect(whole).not.toMatch(/more above|ran a very long.* …$/m);
});

test.each([
  [20, 8],
  [40, 10],
  [300, 100],
])("a terminal of %dx%d does not break", (columns, rows) => {
  for (const [, of] of screens) for (const row of draw(of, columns, rows)) expect(cellsOf(row)).toBeLessThanOrEqual(columns);
});

const HOSTILE = "\u001B[8mx\u001B]8;;http://198.51.100.7\u0007y\u009B31m\u0007\u202Eevil\u001B]0;never ended\r\n\u001B[2J日本";
/** Keys whose values decide what is drawn; all others become hostile. */
const meaning = new Set([
  "id",
  "status",
  "severity",
  "engine",
  "trust",
  "presence",
  "state",
  "level",
  "type",
  "code",
  "act",
  "kind",
  "jti",
  "view",
  "outcome",
  "device",
]);

function hostile<T>(value: T, key = ""): T {
  if (typeof value === "string") return (meaning.has(key) ? value : `${HOSTILE}${value}`) as T;
  if (Array.isArray(value)) return value.map((item) => hostile(item, key)) as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, hostile(item, name)])) as T;
}

function hostileState(...steps: Step[]): ConsoleState {
  const evil = (alert: Alert): Alert => ({ ...hostile(alert), device: `${HOSTILE}gw`, rule: { ...hostile(alert.rule), id: HOSTILE } });
  const device = { ...hostile(devices[2]!), id: `${HOSTILE}gw` };
  const start: Step = {
    ...full,
    site: { ...hostile(site), site: HOSTILE },
    devices: [device, ...devices.map((one) => hostile(one))],
    alerts: alerts.map(evil),
  };
  return state(start, ...steps);
}

const evilEvents = hostile(madeEvents());
test.each<[string, ConsoleState]>([
  ["alerts", hostileState()],
  ["one alert", hostileState(openAlert, { kind: "evidence", alert: id, evidence: { events: evilEvents, revision: 0 } })],
  [
    "one alert with long rows",
    hostileState(openAlert, { kind: "toggle-wrap" }, { kind: "evidence", alert: id, evidence: { events: evilEvents, revision: 0 } }),
  ],
  ["evidence that cannot be read", hostileState(openAlert, { kind: "evidence", alert: id, evidence: { error: HOSTILE } })],
  ["devices", hostileState({ kind: "list", list: "devices" })],
  [
    "one device",
    hostileState(
      { kind: "open", view: { kind: "device", id: `${HOSTILE}gw` } },
      { kind: "history", device: `${HOSTILE}gw`, commands: [hostile(history.kind === "history" ? history.commands[0]! : madeCommand())] },
    ),
  ],
  [
    "a question",
    hostileState({ kind: "ask", prompt: { kind: "order", act: "isolate", device: `${HOSTILE}gw`, reason: HOSTILE, typed: HOSTILE } }),
  ],
  ["an order", hostileState(job("failed", HOSTILE))],
  ["a message", hostileState({ kind: "say", message: { tone: "bad", text: HOSTILE } })],
  ["a lost site", hostileState({ kind: "lost", why: HOSTILE, hint: HOSTILE, nowMs })],
])("hostile text everywhere in %s stays text", (_, of) => {
  for (const [columns, rows] of sizes) {
    // Long pages are seen whole: what is below the fold is a scroll away.
    for (const height of [rows, 300]) {
      const lines = draw(of, columns, height);
      const text = lines.join("\n");
      // ink's own bold and inverse are the only sequences there can be, and no color is on here.
      const rest = text.replaceAll(/\u001B\[(?:1|2|7|22|27)m/g, "");
      expect(rest).not.toMatch(/[\u0000-\u0009\u000B-\u001F\u007F-\u009F\u202E\u200B\u2028]/);
      expect(lines.length).toBe(height);
      for (const row of lines) expect(cellsOf(row)).toBeLessThanOrEqual(columns);
    }
  }
});

test("only components/lines.tsx writes text: nothing goes around its gate", async () => {
  const root = new URL("./", import.meta.url).pathname;
  const found: string[] = [];
  for await (const file of new Bun.Glob("**/*.{ts,tsx}").scan({ cwd: root })) {
    if (file.includes("node_modules/") || /\.test\.tsx?$/.test(file)) continue;
    const imports = /import\s*\{([^}]*)\}\s*from\s*"ink"/.exec(await Bun.file(root + file).text())?.[1] ?? "";
    if (/\b(Text|Static|Transform)\b/.test(imports)) found.push(file);
  }
  expect(found).toEqual(["components/lines.tsx"]);
});
