import { type EventType, eventTypes, type SensorEvent } from "@picket/protocol/event";
import { parseRecorded } from "@picket/protocol/recorded";
import fc from "fast-check";
import { expect, test } from "vitest";
import { compileRules, parseRules } from "../engine.ts";
import { naiveMatch } from "../testing/naive.ts";

const rule = (id: string, detection: string) =>
  `title: T ${id}\nid: ${id}\nlogsource: { product: linux, service: auditd }\nlevel: low\ndetection: { ${detection} }\n`;
const load = (detection: string) => parseRules([{ file: "a.yml", text: rule("a", detection) }]);
const event = (type: string, body: object): SensorEvent => parseRecorded(JSON.stringify({ type, device: "gw", timeMs: 1, body }), 1).event;
const exec = (exe: string, ...argv: string[]) => event("process.exec", { process: { exe, argv, uid: 33, cwd: "/srv" } });
const process = { exe: "/usr/sbin/insmod", argv: ["insmod", "x.ko"], uid: 0 };

const seen: Record<string, SensorEvent> = {
  zip: exec("/usr/bin/zip", "zip", "-r", "x.zip", "/etc"),
  curl: exec("/usr/bin/curl", "curl", "http://192.0.2.1/x"),
  created: event("file.create", { process, file: { path: "/etc/systemd/system/x.service" } }),
  renamed: event("file.rename", { process, file: { path: "/tmp/x", to: "/etc/ld.so.preload" } }),
  module: event("kernel.module", { process, name: "x" }),
  connect: event("net.connect", { process, net: { proto: "tcp", dstIp: "192.0.2.1", dstPort: 443 } }),
  connect6: event("net.connect", { process, net: { proto: "tcp", dstIp: "2001:db8::1", dstPort: 443 } }),
  sudo: event("auth.sudo", { user: "ada", command: "/usr/bin/id", ok: false }),
  login: event("auth.login", { user: "ada", remoteIp: "192.0.2.9", method: "password", ok: true }),
};

test.each([
  ["arguments by their place, whatever the case of the type", "s: { type: execve, a0: zip, a1: '-r' }, condition: s", ["zip"]],
  ["an argument at another place is another", "s: { type: EXECVE, a1: zip }, condition: s", []],
  ["a0 of a SYSCALL record is no argument of the program", "s: { type: SYSCALL, a0: zip }, t: { a0: nope }, condition: s or t", []],
  ["one record must hold all of it", "s: { type: EXECVE, SYSCALL: execve }, t: { a0: nope }, condition: s or t", []],
  ["the call, and who made it", "s: { type: SYSCALL, SYSCALL: execve, euid: 33, exe|endswith: /zip }, condition: s", ["zip"]],
  ["the short name", "s: { type: SYSCALL, comm: zip }, condition: s", ["zip"]],
  [
    "a program that is a link, by what it leads to",
    "s: { comm: insmod, exe: /usr/bin/kmod, SYSCALL: finit_module }, condition: s",
    ["module"],
  ],
  ["a file that appears", "s: { type: PATH, nametype: CREATE, name|startswith: /etc/ }, condition: s", ["created", "renamed"]],
  ["a file that goes", "s: { type: PATH, nametype: DELETE, name: /tmp/x }, condition: s", ["renamed"]],
  ["keywords look into the arguments", "s: { type: EXECVE }, k: { '|all': [zip, /etc] }, condition: s and k", ["zip"]],
  ["what must not be there, in the same record", "s: { type: EXECVE }, f: { a0: curl }, condition: s and not f", ["zip"]],
  ["keys of the common rule sets", "s: { key: susp_activity }, condition: s", ["curl"]],
  ["a connection over IPv4", "s: { key: network_connect_4 }, condition: s", ["connect"]],
  ["addresses", "s: { type: SOCKADDR, laddr|cidr: '2001:db8::/32', lport: 443 }, condition: s", ["connect6"]],
  ["sudo refused", "s: { type: USER_CMD, acct: ada, res: failed, cmd|endswith: /id }, condition: s", ["sudo"]],
  ["a login", "s: { type: USER_LOGIN, addr: 192.0.2.9, res: success }, condition: s", ["login"]],
])("%s", (_, detection, expected) => {
  const { rules, errors } = load(detection);
  expect(errors).toEqual([]);
  const matcher = compileRules(rules);
  const names = Object.keys(seen);
  expect(names.filter((name) => matcher.match(seen[name]!).length > 0)).toEqual(expected);
  expect(names.filter((name) => naiveMatch(rules, seen[name]!).length > 0)).toEqual(expected);
});

test.each([
  ["a record nobody writes", "s: { type: SERVICE_STOP, unit: ufw }, condition: s", ["type service_stop", "field unit"], 0],
  ["a call nobody tells", "s: { type: SYSCALL, SYSCALL: sysinfo }, condition: s", ["SYSCALL sysinfo"], 0],
  ["a key of somebody's own", "s: { key: my_own }, condition: s", ["key my_own"], 0],
  ["a part only", "s: { type: ADD_USER }, t: { exe|endswith: /useradd }, condition: s or t", ["type add_user"], 1],
])("%s is unsupported, and said", (_, detection, lacking, loaded) => {
  const { rules, errors, warnings } = load(detection);
  expect(errors).toEqual([]);
  expect(rules).toHaveLength(loaded);
  expect(warnings.map(({ message }) => message)).toEqual(
    lacking.map((what) => expect.stringContaining(`unsupported: needs auditd ${what}, which Picket's events do not have`)),
  );
});

const goldens = await Promise.all(
  eventTypes.map(
    async (type: EventType): Promise<SensorEvent> => Bun.file(new URL(`../../protocol/testdata/${type}.json`, import.meta.url)).json(),
  ),
);
const item = fc.oneof(
  fc.constantFrom(
    "type: EXECVE",
    "type: SYSCALL",
    "type: PATH",
    "type|contains: USER",
    "nametype: [CREATE, DELETE]",
    "SYSCALL|re: 'open|exec'",
  ),
  fc.constantFrom(
    "a0|exists: true",
    "a1|startswith: '-'",
    "a2: null",
    "comm|contains: s",
    "comm: sh",
    "exe|endswith: [/sh, /bash]",
    "exe|re: '.'",
  ),
  fc.constantFrom(
    "name|contains: /",
    "key|exists: false",
    "success: 'yes'",
    "uid: 0",
    "exe|fieldref|endswith: comm",
    "unit: x",
    "'|all': [e, /]",
  ),
);
const search = fc.uniqueArray(item, { minLength: 1, maxLength: 3, selector: (text) => text.split(/[|:]/)[0] });
const condition = fc.constantFrom("x and y", "x or y", "x and not y", "not x and not y", "not (x or y)");

test("compiled audit rules agree with rules that are evaluated as they read", () => {
  fc.assert(
    fc.property(search, search, condition, (x, y, text) => {
      const { rules } = load(`x: { ${x.join(", ")} }, y: { ${y.join(", ")} }, condition: ${text}`);
      const matcher = compileRules(rules);
      for (const one of [...goldens, ...Object.values(seen)]) expect(matcher.match(one)).toEqual(naiveMatch(rules, one));
    }),
    { seed: 6, numRuns: 150 },
  );
});
