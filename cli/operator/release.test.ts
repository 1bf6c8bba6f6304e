import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { deviceFile, deviceFiles } from "./device-files.ts";
import { installLine } from "./install-line.ts";
import { newPrivateKey } from "./key-file.ts";
import { addOperator, initOperator, loadOperator, type Operator, type PublicFile } from "./keys.ts";
import { signRelease, verifyRelease } from "./release.ts";

const nowMs = 1_800_000_000_000;
let dir: string;
let anna: Operator & { public: PublicFile };

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "picket-release-"));
  anna = await initOperator({ home: join(dir, "anna"), site: "north", name: "anna" });
  mkdirSync(join(dir, "dist/linux-arm64"), { recursive: true });
  writeFileSync(join(dir, "dist/linux-arm64/picket-agent"), "agent");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const sign = (operator: Operator = anna) => signRelease(operator, join(dir, "dist"), { version: "1.2.3", nowMs });
const jws = () => readFileSync(join(dir, "dist/release.jws"), "utf8").trim();
const check = (of: Partial<Parameters<typeof verifyRelease>[0]> = {}) =>
  verifyRelease({ jws: jws(), keys: anna.public.keys, anchor: anna.public.anchor, site: "north", ...of });

test("a release names every file that is there, and brings those that belong to every device", async () => {
  const release = await sign();
  expect(Object.keys(release.files)).toEqual(["device.sh", "first-boot.sh", "picket-agent.service", "linux-arm64/picket-agent"]);
  expect(release).toMatchObject({ site: "north", version: "1.2.3", iat: nowMs / 1000 });
  expect(await check()).toEqual(release);
  for (const name of deviceFiles) expect(readFileSync(join(dir, "dist", name), "utf8")).toBe(await deviceFile(name));
});

// install/device.sh reads both with regular expressions.
test("header and payload have the shape that the installer reads", async () => {
  await sign();
  const [header, payload] = jws()
    .split(".")
    .map((part) => Buffer.from(part, "base64url").toString());
  expect(header).toMatch(/^\{"alg":"EdDSA","typ":"picket-release\+jws","kid":"[\w-]{43}"\}$/);
  expect(payload).toMatch(/^\{"site":"north","iat":1800000000,"version":"1\.2\.3","files":\{"device\.sh":"[0-9a-f]{64}",/);
  const list = Buffer.from(anna.public.keys.split(".")[1]!, "base64url").toString();
  expect(list).toMatch(
    /^\{"site":"north","version":1,"iat":\d+,"keys":\[\{"kid":"[\w-]{43}","key":\{"kty":"OKP","crv":"Ed25519","x":"[\w-]{43}"\},"name":"anna","may":\[.*"install"\]\}\]\}$/,
  );
});

test("whoever the list does not let install can neither sign nor is believed", async () => {
  const key = await newPrivateKey();
  const next = await addOperator(anna.home, { name: "ben", key, may: ["isolate", "release"] });
  writeFileSync(join(anna.home, "operator.jwk"), JSON.stringify(key), { mode: 0o600 });
  const ben = await loadOperator(anna.home);
  await expect(sign(ben)).rejects.toThrow(/lets ben not sign what devices install/);
  await sign({ ...ben, may: ["install"] });
  await expect(check({ keys: next.jws })).rejects.toThrow(/does not let sign/);
});

test.each([
  ["another site's name", () => ({ site: "south" }), /another site/],
  [
    "another anchor",
    async () => ({ anchor: (await initOperator({ home: join(dir, "eve"), site: "north", name: "eve" })).public.anchor }),
    /not signed by the operators' root/,
  ],
  ["another payload", () => ({ jws: jws().replace(/\.(...)/, ".e30") }), /no valid signature/],
  ["a command in place of a release", () => ({ jws: anna.public.keys }), /does not let sign|no valid signature/],
  ["nothing like a release", () => ({ jws: "x" }), /does not let sign/],
])("%s is refused", async (_, change, words) => {
  await sign();
  await expect(check(await change())).rejects.toThrow(words);
});

test("a folder without an agent is no release", async () => {
  rmSync(join(dir, "dist/linux-arm64"), { recursive: true });
  await expect(sign()).rejects.toThrow(/holds no linux-x64\/picket-agent/);
});

test("the line keeps the secret out of arguments and names what it runs by its hash", () => {
  const installer = { address: "[fd70::1]:8443", sha256: "ab".repeat(32) };
  const line = installLine(installer, { token: "picket1.secret" });
  expect(line).toMatch(
    /^ s=\$\(curl -fsSk https:\/\/\[fd70::1\]:8443\/v1\/install\/device\.sh\) && \{ \[ "\$\(sha256sum <<<"\$s"\)" = '(ab){32} {2}-' \]/,
  );
  expect(line).toMatch(/&& \$\(command -v sudo\) bash -s <<<"\$s"\$'\\n''picket1\.secret'$/);
  expect(installLine(installer, { file: "my 'token'" })).toMatch(/\) bash -s -- --token-file 'my '\\''token'\\''' <<<"\$s"$/);
});
