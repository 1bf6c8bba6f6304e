import { canonical, indicatorKinds, recognise } from "@picket/protocol/ioc-value";
import { expect, test } from "vitest";
import { type Format, readList } from "./read.ts";
import { indicatorsOf } from "./stix-pattern.ts";

const HASH = `${"ab".repeat(31)}cd`;
const MD5 = "d41d8cd98f00b204e9800998ecf8427f";
/** Each as "kind value", or why it cannot be used, with its place. */
function all(text: string, format: Format = "auto"): string[] {
  return [...readList(Buffer.from(text), format).rows].map((one) =>
    "why" in one ? `${one.at}: ${one.why}` : `${one.row.kind} ${one.row.value}`,
  );
}
const first = (text: string) => [...readList(Buffer.from(text), "auto").rows].flatMap((one) => ("row" in one ? [one.row] : []))[0];

test("text: comments, harmless spellings, hosts files, what follows a value, and line ends of Windows", () => {
  const text = `\uFEFF# a list\r\n; more\r\n// and more\r\nhxxps[:]//evil[.]example[/]a?b=1\r\n203[.]0(.)113[dot]9 ; SBL1\r\n0.0.0.0 a.evil.example b.evil.example\r\n/tmp/.x/y\r\n*.wild.example\r\nbücher.example\r\n2001:DB8::/33\r\n${HASH.toUpperCase()}`;
  expect(all(text)).toEqual([
    "url evil.example/a?b=1",
    "address 203.0.113.9",
    "domain a.evil.example",
    "domain b.evil.example",
    "path /tmp/.x/y",
    "domain wild.example",
    "domain xn--bcher-kva.example",
    "address 2001:db8::/33",
    `sha256 ${HASH}`,
  ]);
  expect(first("203.0.113.9 # Mirai \u001b[2J\u202e C2")).toMatchObject({ label: "Mirai  [2J  C2" });
});

test.each([
  ["0.0.0.0/0", /too wide/],
  ["::/0", /too wide/],
  ["192.168.1.1", /private/],
  ["127.0.0.1", /loopback/],
  ["0.1.2.3", /this network/],
  ["::1", /loopback/],
  ["fe80::1", /link-local/],
  ["com", /top-level/],
  ["co.uk", /everybody in the country/],
  ["printer.local", /local network/],
  ["http://10.0.0.1/x", /its host cannot be used: it is private/],
  [MD5, /MD5 cannot be matched: it needs the SHA-256/],
  ["a".repeat(40), /SHA-1/],
  ["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", /empty file/],
  ["0".repeat(64), /all its digits/],
  ["/usr/bin/curl", /every Linux/],
  ["/tmp", /just below/],
  ["/tmp/*/x", /Sigma/],
  ["C:\\Windows\\evil.exe", /Windows/],
  ["1.2.3.4.5", /no IPv4/],
  ["x".repeat(5000), /longer/],
])("refused with its reason: %s", (value, why) => {
  expect(all(`203.0.113.1\n${value}\n203.0.113.2`, "text")).toEqual([
    "address 203.0.113.1",
    expect.stringMatching(why),
    "address 203.0.113.2",
  ]);
});

test("CSV: a header, one behind a comment sign, none, quotes, and columns of several kinds", () => {
  const threatfox = `# comment\n# "first_seen_utc","ioc_value","ioc_type","malware_printable","confidence_level","tags"\n"2026-01-01","203.0.113.9:443","ip:port","Cobalt, ""Strike""","75","a,b"\n"2026-01-01","${MD5}","md5_hash","X","50",""`;
  expect(all(threatfox)).toEqual(["address 203.0.113.9", expect.stringMatching(/^line 4: a md5 cannot be matched: it needs the SHA-256/)]);
  expect(first(threatfox)).toMatchObject({ label: 'Cobalt, "Strike"', confidence: 75, tags: ["a", "b"] });
  const misp = `uuid,event_id,category,type,value,comment,to_ids,date\n1,2,Network,ip-dst|port,198.51.100.7|8080,c2,1,x\n1,2,Network,domain|ip,evil.example|198.51.100.8,,1,x\n1,2,Other,domain,seen.example,,0,x\n1,2,Payload,filename|sha256,a.sh|${HASH},,1,x\n1,2,Other,btc,1x,,1,x`;
  expect(all(misp)).toEqual([
    "address 198.51.100.7",
    "domain evil.example",
    "address 198.51.100.8",
    expect.stringMatching(/^line 4: .*to_ids/),
    `sha256 ${HASH}`,
    expect.stringMatching(/^line 6: devices tell nothing .*"btc"/),
  ]);
  expect(all(`sha256_hash,md5_hash,signature\n${HASH},${MD5},Mirai\n,,`)).toEqual([
    `sha256 ${HASH}`,
    "line 3: its columns hold no indicator",
  ]);
  expect(first("dst_ip;dst_port;expires\n203.0.113.4;80;2030-01-02 03:04:05 UTC")).toEqual({
    kind: "address",
    value: "203.0.113.4",
    expiresMs: Date.UTC(2030, 0, 2, 3, 4, 5),
  });
  expect(all("203.0.113.4,80,x\nnothing,here")).toEqual(["address 203.0.113.4", "line 2: none of its columns is an indicator"]);
});

const stix = (...indicators: object[]) =>
  JSON.stringify({
    type: "bundle",
    id: "bundle--1",
    objects: [
      { type: "malware", name: "m" },
      ...indicators.map((one, at) => ({ type: "indicator", id: `indicator--${at}`, pattern_type: "stix", ...one })),
    ],
  });

test("STIX: what is said of an indicator comes with it, and what cannot be honoured is named", () => {
  const text = stix(
    {
      pattern: `[file:hashes.'SHA-256' = '${HASH}']`,
      name: "Mirai",
      confidence: 90,
      valid_until: "2030-01-01T00:00:00Z",
      indicator_types: ["malicious-activity"],
    },
    { pattern: "[ipv4-addr:value = '203.0.113.9/32'] OR [ipv6-addr:value IN ('2001:db8::1', '2001:db8::2')]" },
    { pattern: "[domain-name:value = 'x.example']", revoked: true },
    { pattern: "rule x {}", pattern_type: "yara" },
    { pattern: "[process:command_line = 'x']" },
    { pattern_type: "stix" },
  );
  expect(all(text)).toEqual([
    `sha256 ${HASH}`,
    "address 203.0.113.9",
    "address 2001:db8::1",
    "address 2001:db8::2",
    expect.stringMatching(/^indicator--2: .*revoked/),
    expect.stringMatching(/^indicator--3: .*"yara"/),
    expect.stringMatching(/^indicator--4: process:command_line is nothing that devices tell/),
    "indicator--5: it has no pattern",
  ]);
  expect(first(text)).toEqual({
    kind: "sha256",
    value: HASH,
    label: "Mirai",
    confidence: 90,
    expiresMs: Date.UTC(2030, 0, 1),
    tags: ["malicious-activity"],
  });
});

test.each<[string, string[] | RegExp]>([
  ["[url:value = 'http://evil.example/it\\'s']", ["url evil.example/it's"]],
  [`[file:hashes.MD5 = '${MD5}' OR file:hashes."SHA-256" = '${HASH}']`, ["why", `sha256 ${HASH}`]],
  [`[file:hashes.MD5 = '${MD5}' AND file:hashes.'SHA-256' = '${HASH}' AND file:name = 'drop']`, [`sha256 ${HASH}`]],
  ["[network-traffic:dst_ref.value = '203.0.113.9' AND network-traffic:dst_port = 443]", ["address 203.0.113.9"]],
  ["([domain-name:value = 'a.example'] OR ([domain-name:value = 'b.example']))", ["domain a.example", "domain b.example"]],
  ["[(domain-name:value = 'a.example' OR domain-name:value = 'b.example') AND file:size = 3]", ["domain a.example", "domain b.example"]],
  ["[file:name = 'x.bin'] FOLLOWEDBY [ipv4-addr:value = '203.0.113.9']", /FOLLOWEDBY/],
  ["[ipv4-addr:value = '203.0.113.9'] REPEATS 5 TIMES", /REPEATS/],
  ["[ipv4-addr:value != '203.0.113.9']", /!=/],
  ["[domain-name:value LIKE '%.example']", /LIKE/],
  ["[ipv4-addr:value = '203.0.113.9' AND ipv4-addr:value = '203.0.113.8']", /two things of the same kind/],
  ["[domain-name:value = 'a.example' OR file:size = 3]", /alternatives/],
  ["[file:size = 3]", /compares nothing/],
  ["[ipv4-addr:value = ]", /lacks a value/],
  ["[", /property/],
  ["", /lacks a/],
  ["[".repeat(5000), /./],
  ["(".repeat(5000), /too deeply/],
  ["\u0000[x", /cannot be read from character 1/],
])("pattern %s", (pattern, expected) => {
  const found = indicatorsOf(pattern);
  if (expected instanceof RegExp) expect("why" in found ? found.why : "honoured").toMatch(expected);
  else expect("all" in found ? found.all.map((one) => ("why" in one ? "why" : `${one.kind} ${one.value}`)) : found).toEqual(expected);
});

test("MISP: events, searches and feeds; objects; what is not for detection", () => {
  const attribute = (type: string, value: string, more: object = {}) => ({ uuid: value.slice(0, 8), type, value, to_ids: true, ...more });
  const event = {
    Event: {
      info: "Campaign",
      Tag: [{ name: "tlp:green" }],
      Attribute: [
        attribute("ip-src", "198.51.100.1"),
        attribute("sha1", "a".repeat(40)),
        attribute("url", "hxxp://evil.example/x"),
        attribute("domain", "off.example", { to_ids: false }),
      ],
      Object: [
        {
          name: "file",
          Attribute: [
            attribute("filename", "dropper.bin"),
            attribute("sha256", HASH, { comment: "second" }),
            attribute("hostname", "gone.example", { deleted: true }),
            null,
            7,
          ],
        },
      ],
    },
  };
  const expected = [
    "address 198.51.100.1",
    expect.stringMatching(/sha1 cannot be matched/),
    "url evil.example/x",
    expect.stringMatching(/off\.exam.*to_ids/),
    "name dropper.bin",
    `sha256 ${HASH}`,
  ];
  for (const json of [event, { response: [event] }, [event], event.Event]) expect(all(JSON.stringify(json))).toEqual(expected);
  const last = [...readList(Buffer.from(JSON.stringify(event)), "misp").rows].at(-1);
  expect(last).toMatchObject({ row: { label: "Campaign: second", tags: ["tlp:green"] } });
});

test.each(["{", "{}", "[]", "[1]", '{"type":"bundle"}', '{"type":"bundle","objects":[]}', "null", '{"response":null}'])(
  "no list: %s",
  (text) => {
    expect(() => all(text, text.includes("bundle") ? "stix" : "misp")).toThrow();
  },
);

test("the form in which a value is kept is its own form, whatever it was", () => {
  const values = [
    "203.0.113.9/24",
    "::ffff:203.0.113.9",
    "2001:DB8:0:0:1::/64",
    "EVIL.example.",
    "http://evil.example:8080/a",
    "https://evil.example:80/b",
    "http://[2001:db8::1]/x",
    "/a//b/c/",
    HASH.toUpperCase(),
  ];
  for (const value of values) {
    const once = recognise(value);
    expect("why" in once ? once : canonical(once.kind, once.value)).toEqual(once);
  }
  for (const kind of indicatorKinds)
    for (const value of ["", "\u0000", "\ud800", "]]", "%zz", "http://", "://", "a".repeat(9999)])
      expect(() => canonical(kind, value)).not.toThrow();
});
