import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { testCertificate } from "../testing/certificate.ts";
import { type FakeSite, startFakeSite } from "../testing/fake-site.ts";
import { madeAlert, madeDevice, madeSite } from "../testing/made-up.ts";
import type { SiteAccess } from "./access.ts";
import { createClient } from "./client.ts";
import { SiteError } from "./site-error.ts";
import { snapshot } from "./snapshot.ts";

let site: FakeSite;
beforeAll(async () => {
  site = await startFakeSite();
});
afterAll(() => site.stop());
beforeEach(() => {
  site.alerts.clear();
  site.devices.clear();
});

const errorOf = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail("it did not fail"),
    (error: unknown) => error as SiteError,
  );

/** A TLS server that answers each request with `respond`. */
async function serve(respond: (request: Request) => Response | Promise<Response>): Promise<{ access: SiteAccess } & AsyncDisposable> {
  const { ca, cert, key } = await testCertificate();
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, tls: { cert, key }, fetch: respond });
  return { access: { ...site.access, url: `https://127.0.0.1:${server.port}`, ca }, [Symbol.asyncDispose]: () => server.stop(true) };
}

test("calls a route with path, query and body, and types the answer", async () => {
  const client = createClient(site.access);
  site.devices.set("gw-014", madeDevice("gw-014"));
  for (const alert of [madeAlert("a"), madeAlert("b", { severity: "low" })]) site.alerts.set(alert.id, alert);
  expect((await client.call("device", { params: { id: "gw-014" } })).device.id).toBe("gw-014");
  expect((await client.call("alerts", { query: { severity: "low" } })).alerts.map((alert) => alert.severity)).toEqual(["low"]);
  const { alert } = await client.call("judge", { params: { id: madeAlert("a").id }, body: { note: "seen" } });
  expect(alert.notes.map((note) => note.text)).toEqual(["seen"]);
});

test("a snapshot asks for open alerts by severity, so none hides behind the limit", async () => {
  for (const alert of [
    madeAlert("a"),
    madeAlert("b", { severity: "critical" }),
    madeAlert("c", { status: "closed" }),
    madeAlert("d", { status: "acknowledged" }),
  ])
    site.alerts.set(alert.id, alert);
  expect((await snapshot(createClient(site.access))).alerts).toHaveLength(4);
});

test("a problem becomes an error with title, detail and hint", async () => {
  const error = await errorOf(createClient(site.access).call("device", { params: { id: "nobody" } }));
  expect(error).toBeInstanceOf(SiteError);
  expect(error).toMatchObject({ kind: "not-found", status: 404, title: "no such device", detail: "nobody", hint: "See `picket devices`." });
});

test("a wrong token says so", async () => {
  const error = await errorOf(createClient({ ...site.access, token: "other" }).call("site"));
  expect(error).toMatchObject({ kind: "credential", status: 401 });
  expect(error.hint).toContain("site.json");
});

test("another CA is not trusted, and the token is not sent to it", async () => {
  let asked = 0;
  await using other = await serve(() => {
    asked++;
    return Response.json(madeSite());
  });
  const error = await errorOf(createClient({ ...other.access, ca: site.access.ca }).call("site"));
  expect(error.kind).toBe("untrusted");
  expect(asked).toBe(0);
});

test("the right CA does not make another address the site", async () => {
  const url = site.access.url.replace("127.0.0.1", "localhost");
  const error = await errorOf(createClient({ ...site.access, url }).call("site"));
  expect(["untrusted", "unreachable"]).toContain(error.kind);
});

test("a site that is not there says what to do", async () => {
  const error = await errorOf(createClient({ ...site.access, url: "https://127.0.0.1:1" }).call("site"));
  expect(error).toMatchObject({ kind: "unreachable" });
  expect(error.hint).toContain("picket broker");
});

test("a site that never answers is given up", async () => {
  const hang = Promise.withResolvers<Response>();
  await using silent = await serve(() => hang.promise);
  const error = await errorOf(createClient(silent.access, { timeoutMs: 100 }).call("site"));
  expect(error.kind).toBe("timeout");
  hang.resolve(new Response());
});

test.each([
  ["not JSON", () => new Response("<html>")],
  ["another shape", () => Response.json({ site: 1 })],
])("an answer that is %s is an error, not a crash later", async (_, respond) => {
  await using odd = await serve(respond);
  expect((await errorOf(createClient(odd.access).call("site"))).kind).toBe("broken");
});

test("an error without a problem document still has words", async () => {
  await using odd = await serve(() => new Response("oops", { status: 500 }));
  expect(await errorOf(createClient(odd.access).call("site"))).toMatchObject({
    kind: "refused",
    status: 500,
    title: "the site answered 500",
  });
});
