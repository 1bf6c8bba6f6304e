import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { INSTALL_PATH, releaseFiles } from "@picket/protocol/release";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ApiDeps } from "./deps.ts";
import { type Site, startSite } from "./testing/site.ts";

const BIG = 40 << 20;
let folder: string;
let site: Site;
let jws: string | undefined;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "picket-installer-"));
  mkdirSync(join(folder, "linux-x64"));
  writeFileSync(join(folder, "device.sh"), "#!/bin/sh\n");
  writeFileSync(join(folder, "linux-x64/picket-agent"), Buffer.alloc(BIG, 7));
  const sizes = { "device.sh": 10, "linux-x64/picket-agent": BIG } as const;
  const installer: Partial<ApiDeps["installer"]> = {
    release: () => jws,
    file: (name) => (name in sizes ? { path: join(folder, name), sizeBytes: sizes[name as keyof typeof sizes] } : undefined),
  };
  const trust: ApiDeps["installer"]["trust"] = () => ({ anchor: site.keyring.anchor, keys: "a.b.c" });
  site = await startSite({ deps: { installer: { ...installer, trust } as ApiDeps["installer"] } });
});

afterAll(async () => {
  await site[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const get = (path: string) => fetch(`${site.url}${INSTALL_PATH}/${path}`, { tls: { ca: site.ca } });

test("a machine without any credential gets what it checks a release with", async () => {
  const trust = await (await get("trust")).text();
  // install/device.sh reads it with regular expressions: this shape is a promise.
  expect(trust).toMatch(
    /^\{"anchor":\{"root":\{"kty":"OKP","crv":"Ed25519","x":"[\w-]{43}"\},"recovery":\{"kty":"OKP","crv":"Ed25519","x":"[\w-]{43}"\}\},"keys":"a\.b\.c"\}$/,
  );
});

test("a site without a release says what to do, for the release and for each file it lacks", async () => {
  for (const path of ["release", "linux-arm64/picket-agent"]) {
    const response = await get(path);
    expect(response.status, path).toBe(404);
    const { detail, hint } = (await response.json()) as Record<string, string>;
    expect([detail, hint]).toEqual([
      expect.stringContaining("nothing for devices to install"),
      expect.stringContaining("picket operator sign"),
    ]);
  }
});

test("a release and its files are served whole, with their sizes", async () => {
  jws = "a.b.c";
  expect(await (await get("release")).text()).toBe('{"jws":"a.b.c"}');
  expect(await (await get("device.sh")).text()).toBe("#!/bin/sh\n");
  const big = await get("linux-x64/picket-agent");
  expect(big.headers.get("content-length")).toBe(String(BIG));
  expect((await big.bytes()).every((byte) => byte === 7)).toBe(true);
});

test.each(["../site.db", "..%2fca.key.pem", "linux-x64/picket", "release.jws", "", "linux-x64/../device.sh%00"])(
  "nothing else in the folder or beside it can be fetched: %j",
  async (path) => {
    const response = await get(path);
    expect(releaseFiles as readonly string[]).not.toContain(path);
    expect(response.status).toBe(404);
    await response.body?.cancel();
  },
);

test("downloads at the same time are bounded; whoever is refused may come again, and a download that was given up frees its place", async () => {
  const running = await Promise.all(Array.from({ length: 16 }, () => get("linux-x64/picket-agent")));
  expect(running.map(({ status }) => status)).toEqual(Array(16).fill(200));
  const refused = await get("device.sh");
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "10"]);
  expect(await refused.json()).toMatchObject({ title: "Unavailable" });
  for (const { body } of running) await body?.cancel();
  await expect.poll(async () => (await get("device.sh")).status, { timeout: 10_000 }).toBe(200);
});
