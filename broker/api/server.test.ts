import { randomUUID } from "node:crypto";
import { connect } from "node:tls";
import { Problem, routes, STREAM_PATH } from "@picket/protocol/rest";
import { afterAll, beforeAll, expect, test } from "vitest";
import { detection, events, log, signCommand, signKeyList } from "../testing/samples.ts";
import { type Site, startSite } from "./testing/site.ts";

const unlimited = { burst: 1e9, refillMs: 1, addresses: 10 };
let site: Site;
beforeAll(async () => {
  site = await startSite({ limits: { failures: unlimited, bodyMs: 300 } });
});
afterAll(() => site[Symbol.asyncDispose]());

const withToken = (path: string, method: string, token: string | undefined) =>
  fetch(site.url + path, { method, headers: token === undefined ? {} : { authorization: `Bearer ${token}` }, tls: { ca: site.ca } });

const closed = [
  ...Object.values(routes).filter((route) => route.auth === "operator"),
  { method: "GET", path: STREAM_PATH },
  { method: "GET", path: "/openapi.json" },
].map(({ method, path }) => ({ method, path: path.replace(":id", "gw-014").replace(":name", "soc") }));

test.each(closed)("$method $path needs a credential that is known and not revoked", async ({ method, path }) => {
  const revoked = site.credentials.create("former", Date.now());
  site.credentials.revoke("former", Date.now());
  for (const token of [undefined, "picket_wrong", revoked, `${site.token}x`, ""]) {
    const response = await withToken(path, method, token);
    expect(response.status).toBe(401);
    expect(response.headers.get("content-type")).toContain("application/problem+json");
    expect(Problem.parse(await response.json())).toMatchObject({ status: 401, title: "Credential needed" });
  }
});

test("only enrolment, renewal, what is installed, the CA, health and the joining of a site are open", () => {
  const open = Object.entries(routes).filter(([, route]) => route.auth === "open");
  expect(open.map(([name]) => name).sort()).toEqual(["ca", "enroll", "health", "meshPeer", "release", "renew", "trust"]);
});

test("health needs nothing and says nothing but the version", async () => {
  const response = await withToken("/v1/health", "GET", undefined);
  expect(await response.json()).toEqual({ ok: true, version: "1.2.3" });
});

test("answers are not cached, sniffed or framed, and no web page may call", async () => {
  const { headers } = await withToken("/v1/health", "GET", undefined);
  expect(headers.get("cache-control")).toBe("no-store");
  expect(headers.get("x-content-type-options")).toBe("nosniff");
  expect(headers.get("content-security-policy")).toContain("default-src 'none'");
  expect(headers.get("access-control-allow-origin")).toBeNull();
});

test.each([
  ["query", "GET", "/v1/alerts?severty=high", undefined, "severty: unknown key"],
  ["value", "GET", "/v1/alerts?severity=huge", undefined, "severity"],
  ["limit", "GET", "/v1/events?limit=100000", undefined, "limit"],
  ["body key", "POST", "/v1/tokens", { ttlS: 60, use: 1 }, "use: unknown key"],
  ["body type", "POST", "/v1/tokens", [], "body"],
  ["path", "GET", "/v1/devices/..%2F..%2Fetc", undefined, "id"],
  ["no body wanted", "POST", "/v1/devices/gw-014/revoke", { force: true }, "takes no body"],
])("what does not fit is refused: %s", async (_, method, path, body, says) => {
  const response = await site.call(method, path, body);
  expect(response.status).toBe(400);
  expect(Problem.parse(await response.json()).detail).toContain(says);
});

test("a value that does not fit is never repeated: it may be a secret", async () => {
  const response = await site.call("POST", "/v1/enroll", { secret: "s3cr3t".repeat(40), csr: "x" });
  expect(response.status).toBe(400);
  expect(await response.text()).not.toContain("s3cr3t");
});

test("a body that is too large is refused", async () => {
  const response = await site.call("PUT", "/v1/keys", { jws: "x".repeat(200_000) });
  expect(response.status).toBe(413);
});

test("a body that is not JSON is refused", async () => {
  const send = (type: string, body: string) =>
    fetch(`${site.url}/v1/tokens`, {
      method: "POST",
      headers: { authorization: `Bearer ${site.token}`, "content-type": type },
      body,
      tls: { ca: site.ca },
    });
  expect((await send("application/json", "{")).status).toBe(400);
  expect((await send("application/json", '{"__proto__": {"ttlS": 60}}')).status).toBe(400);
  expect((await send("text/plain", "{}")).status).toBe(415);
  expect((await send("application/x-www-form-urlencoded", "ttlS=60")).status).toBe(415);
});

test("a call that does not exist is a problem too", async () => {
  const response = await site.call("GET", "/v1/nothing");
  expect(Problem.parse(await response.json()).status).toBe(404);
});

test("a body that never ends costs the connection, not the broker", async () => {
  const socket = connect({ host: "127.0.0.1", port: site.port, ca: site.ca });
  const ended = new Promise<void>((resolve) => socket.on("close", () => resolve()).on("error", () => {}));
  socket.write(
    `POST /v1/tokens HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${site.token}\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{`,
  );
  await ended;
  expect((await site.call("GET", "/v1/site")).status).toBe(200);
});

test.each([
  ["says nothing", ""],
  ["never ends its header", "GET /v1/health HTTP/1.1\r\nx: "],
])("a connection that %s is closed", async (_, text) => {
  await using other = await startSite({ limits: { idleMs: 100 } });
  const socket = connect({ host: "127.0.0.1", port: other.port, ca: other.ca }, () => socket.write(text));
  const trickle = text === "" ? undefined : setInterval(() => socket.write("y"), 20);
  await new Promise<void>((resolve) => socket.on("close", () => resolve()).on("error", () => {}));
  clearInterval(trickle);
});

test("a header that is too large is refused", async () => {
  const response = await fetch(`${site.url}/v1/health`, { headers: { big: "x".repeat(100_000) }, tls: { ca: site.ca } });
  expect(response.status).toBe(431);
});

test("TLS below 1.3 is refused", async () => {
  const refused = new Promise<string>((resolve) => {
    const socket = connect({ host: "127.0.0.1", port: site.port, ca: site.ca, maxVersion: "TLSv1.2" }, () => resolve("connected"));
    socket.on("error", (error) => resolve(error.message));
  });
  expect(await refused).toMatch(/version/i);
});

test("an unforeseen error tells the caller nothing and us everything", async () => {
  await using broken = await startSite({
    deps: {
      siteStatus: () => {
        throw new Error("disk I/O error at /var/lib/picket/site.db");
      },
    },
  });
  const response = await broken.call("GET", "/v1/site");
  expect(response.status).toBe(500);
  const text = await response.text();
  expect(text).not.toMatch(/disk|var|stack|\.ts/);
  expect(String(broken.faults[0])).toContain("disk I/O error");
});

test("an answer that breaks the contract does not leave", async () => {
  await using broken = await startSite({ deps: { sinks: { status: () => [{ secret: 1 } as never], test: async () => undefined } } });
  expect((await broken.call("GET", "/v1/sinks")).status).toBe(500);
});

test("guessing is slowed for its address, also at enrolment; a right credential still passes", async () => {
  await using guarded = await startSite({ limits: { failures: { burst: 3, refillMs: 3600_000, addresses: 10 } } });
  const guess = () => fetch(`${guarded.url}/v1/site`, { headers: { authorization: "Bearer x" }, tls: { ca: guarded.ca } });
  expect([(await guess()).status, (await guess()).status]).toEqual([401, 401]);
  expect((await guarded.call("POST", "/v1/enroll", { secret: "x", csr: "x" })).status).toBe(403);
  const slowed = await guess();
  expect(slowed.status).toBe(429);
  expect(Number(slowed.headers.get("retry-after"))).toBeGreaterThan(0);
  expect((await guarded.call("POST", "/v1/enroll", { secret: "x", csr: "x" })).status).toBe(429);
  expect((await guarded.call("GET", "/v1/site")).status).toBe(200);
});

test("calls that need no credential are slowed for their address, also when they are right; operators are not", async () => {
  const renew = async () => ({ certificate: "x", ca: "x" });
  const enrolment = { ca: () => "ca", enroll: renew as never, renew, createToken: () => ({ token: "x", expiresMs: 1 }) };
  const limits = { failures: unlimited, open: { burst: 3, refillMs: 3600_000, addresses: 10 } };
  await using guarded = await startSite({ limits, deps: { enrolment } });
  const body = { certificate: "x".repeat(100), csr: "x".repeat(100), proof: "a.b.c" };
  const answers: number[] = [];
  for (let n = 0; n < 6; n++) answers.push((await guarded.call("POST", "/v1/renew", body)).status);
  expect(answers.slice(3)).toEqual([429, 429, 429]);
  expect(answers.slice(0, 3)).not.toContain(429);
  expect((await guarded.call("GET", "/v1/site")).status).toBe(200);
});

test("alerts: severity means this and above, a technique includes its sub-techniques", async () => {
  const high = site.putAlert(detection({ severity: "high", attack: { tactics: [], techniques: ["T1105.001"] } }));
  const low = site.putAlert(detection({ severity: "low", attack: { tactics: [], techniques: ["T1105"] } }));
  const ids = async (query: string) => {
    const { alerts } = (await (await site.call("GET", `/v1/alerts?${query}`)).json()) as { alerts: { id: string }[] };
    return alerts.map(({ id }) => id);
  };
  expect(await ids("technique=T1105")).toEqual(expect.arrayContaining([high.id, low.id]));
  expect(await ids("technique=T1105.001")).toEqual([high.id]);
  expect(await ids("technique=T1105&severity=medium")).toEqual([high.id]);
  expect(await ids("technique=T110")).toEqual([]);
});

test("an alert comes with those of its events that the log still has, and keeps what operators decide", async () => {
  log(site.store, events({ seq: 0, count: 3 }), Date.now());
  const alert = site.putAlert(detection({ events: ["gw-014:k3m9x0qa:2", "gw-014:gone0000:7", "gw-014:k3m9x0qa:0"] }));
  const shown = (await (await site.call("GET", `/v1/alerts/${alert.id}`)).json()) as { events: { seq: number }[] };
  expect(shown.events.map(({ seq }) => seq)).toEqual([2, 0]);
  const judged = await site.call("PATCH", `/v1/alerts/${alert.id}`, { status: "acknowledged", assignee: "ben", note: "looking" });
  expect(await judged.json()).toMatchObject({
    alert: { status: "acknowledged", assignee: "ben", notes: [{ operator: "anna", text: "looking" }] },
  });
  expect((await site.call("PATCH", `/v1/alerts/${randomUUID()}`, { status: "closed" })).status).toBe(404);
});

test("a signed command waits for its device, once, and shows as what operators want", async () => {
  const jws = await signCommand(site.keyring);
  const first = (await (await site.call("POST", "/v1/devices/gw-014/commands", { jws })).json()) as { command: { jti: string } };
  expect(first).toMatchObject({ command: { device: "gw-014", act: "isolate", operator: "anna", state: "waiting" } });
  expect(await (await site.call("POST", "/v1/devices/gw-014/commands", { jws })).json()).toEqual(first);
  expect(await (await site.call("GET", "/v1/devices/gw-014")).json()).toMatchObject({
    device: { isolationWanted: true },
    commands: [{ jti: first.command.jti }],
  });
  expect((await site.call("POST", "/v1/devices/gw-015/commands", { jws })).status).toBe(404);
});

test("a revoked device takes no commands", async () => {
  await using other = await startSite();
  expect(await (await other.call("POST", "/v1/devices/gw-014/revoke")).json()).toMatchObject({ device: { trust: "revoked" } });
  const response = await other.call("POST", "/v1/devices/gw-014/commands", { jws: await signCommand(other.keyring) });
  expect(response.status).toBe(409);
});

test("key lists, tokens, sinks and the doctor answer as the contract says", async () => {
  expect(await (await site.call("PUT", "/v1/keys", { jws: await signKeyList(site.keyring, { version: 7 }) })).json()).toEqual({
    version: 7,
  });
  expect((await site.call("PUT", "/v1/keys", { jws: await signKeyList(site.keyring, { version: 6 }) })).status).toBe(409);
  expect(await (await site.call("POST", "/v1/tokens", {})).json()).toMatchObject({ token: "picket1.x" });
  expect(await (await site.call("POST", "/v1/sinks/soc/test")).json()).toEqual({ ok: true, detail: "delivered" });
  expect((await site.call("POST", "/v1/sinks/none/test")).status).toBe(404);
  expect(await (await site.call("GET", "/v1/doctor")).json()).toMatchObject({
    findings: [{ level: "warning", what: "gw-014 was enrolled but never connected." }],
  });
});
