// A site from nothing with the real broker: keys, site, broker in the foreground, an operator who reaches it.
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

const main = new URL("./main.ts", import.meta.url).pathname;
let folder: string;
let home: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "picket-site-"));
  home = join(folder, "operator");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const spawn = (...args: string[]) =>
  Bun.spawn([process.execPath, main, "--home", home, ...args], { cwd: folder, stdin: "ignore", stdout: "pipe", stderr: "pipe" });

async function picket(...args: string[]) {
  const child = spawn(...args);
  const [out, err, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  return { out, err, code };
}

test.each([["up"], ["site", "show"]])("%s %s without a site says so at once", async (...args) => {
  const config = join(folder, "site.toml");
  writeFileSync(config, `[broker]\ndir = ${JSON.stringify(join(folder, "none"))}\n`);
  const { err, code } = await picket(...args, "--config", config);
  expect(code).toBe(1);
  expect(err).toMatch(/^picket: \S+\/none holds no site\n {2}to do: Make one with `picket site init`.*\n$/);
});

/** Reads a program's log: resolves with the next line that has `words`. */
function logOf(stream: ReadableStream<Uint8Array>): (words: string) => Promise<string> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let text = "";
  return async (words) => {
    for (;;) {
      const lines = text.split("\n");
      const at = lines.slice(0, -1).findIndex((line) => line.includes(words));
      if (at >= 0) {
        text = lines.slice(at + 1).join("\n");
        return lines[at]!;
      }
      const { done, value } = await reader.read();
      if (done) return expect.fail(`the log ended without ${words}: ${text}`);
      text += decoder.decode(value, { stream: true });
    }
  };
}

async function madeSite(): Promise<string> {
  expect(await picket("operator", "init", "--site", "lab", "--name", "anna")).toMatchObject({ code: 0, err: "" });
  const dir = join(folder, "site");
  expect(await picket("site", "init", "--site", "lab", "--host", "127.0.0.1", "--dir", dir, "--name", "anna")).toMatchObject({
    code: 0,
    err: "",
  });
  const config = join(folder, "site.toml");
  writeFileSync(
    config,
    `[broker]\ndir = ${JSON.stringify(dir)}\nhost = "127.0.0.1"\nmqttPort = 0\nhttpsPort = 0\n[detector]\ndir = ${JSON.stringify(dir)}\n`,
  );
  return config;
}

async function reach(port: unknown): Promise<void> {
  const file = join(home, "site.json");
  writeFileSync(file, JSON.stringify({ ...(await Bun.file(file).json()), url: `https://127.0.0.1:${port}` }));
}

test("from keys to a site that answers its operator, reloads on SIGHUP and ends cleanly", async () => {
  const config = await madeSite();
  expect(statSync(join(home, "site.json")).mode & 0o777).toBe(0o600);
  const broker = spawn("broker", "--config", config);
  const logged = logOf(broker.stderr);
  await reach(JSON.parse(await logged("broker listens")).https);
  const doctor = await picket("doctor", "--json");
  const findings = JSON.parse(doctor.out).findings as { level: string; what: string }[];
  expect(findings.map(({ what }) => what)).toContain("the site was made for these operator keys");
  expect(JSON.parse((await picket("devices", "--json")).out)).toEqual({ devices: [] });
  expect((await picket("token", "create")).out).toMatch(/^picket1\./);
  expect(await picket("isolate", "nobody", "--yes")).toMatchObject({ code: 1, err: expect.stringContaining("no device") });

  const good = await Bun.file(config).text();
  writeFileSync(config, `${good}\nshoes = 1\n`);
  broker.kill("SIGHUP");
  await logged("detector.shoes: unknown key");
  expect((await picket("devices")).code).toBe(0);
  writeFileSync(config, good);
  broker.kill("SIGHUP");
  await reach(JSON.parse(await logged("broker listens")).https);
  expect((await picket("devices")).code).toBe(0);
  broker.kill("SIGTERM");
  expect(await broker.exited).toBe(0);
});

test("what cannot be used is not overwritten or started", async () => {
  const config = await madeSite();
  expect(await picket("operator", "init", "--site", "lab")).toMatchObject({ code: 1, err: expect.stringContaining("never overwritten") });
  expect(await picket("site", "init", "--site", "lab", "--host", "x", "--dir", join(folder, "two"))).toMatchObject({
    code: 1,
    err: expect.stringContaining("site.json exists already"),
  });
  expect(existsSync(join(folder, "two"))).toBe(false);
  writeFileSync(config, "[broker]\nmqttPort = true\n");
  expect(await picket("broker", "--config", config)).toMatchObject({ code: 1, err: expect.stringMatching(/broker\.mqttPort/) });
  expect(await picket("broker", "--config", join(folder, "none.toml"))).toMatchObject({
    code: 1,
    err: expect.stringContaining("Name another file with --config"),
  });
});

test("site show says what is there and keeps secrets", async () => {
  const config = await madeSite();
  writeFileSync(
    config,
    `${await Bun.file(config).text()}\n[[broker.sinks]]\nname = "siem"\nurl = "https://siem.example/hook"\nsecret = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0"\n`,
  );
  const { out, code } = await picket("site", "show", "--config", config);
  expect(code).toBe(0);
  expect(out).toMatch(/^site lab in /m);
  expect(out).toMatch(/siem\.example/);
  expect(out).not.toContain("whsec_");
});
