import { expect, test } from "vitest";

const root = new URL("../../", import.meta.url).pathname;

test("hostile bytes for twenty seconds: no crash, no hang, no memory kept", async () => {
  const child = Bun.spawn([process.execPath, "test/fuzz/main.ts", "--seconds", "20", "--seed", "1"], {
    cwd: root,
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  expect(err).toBe("");
  expect(await child.exited).toBe(0);
  // Each did something, and most of it was bad.
  expect(out.match(/: \d+ inputs/g)?.length).toBeGreaterThan(12);
}, 120_000);
