// What can be said of the installer's scripts and units without a machine to run them on.
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Act } from "../../protocol/command.ts";
import { run } from "../e2e/program.ts";

const root = new URL("../../", import.meta.url).pathname;
const shellcheck = Bun.which("shellcheck");
const scripts = [
  "install.sh",
  "install/device.sh",
  "install/first-boot.sh",
  "install/site.sh",
  "test/install/boot.sh",
  "test/install/root.sh",
];

test.skipIf(!shellcheck)(
  `shellcheck has nothing to say${shellcheck ? "" : " (it is not installed: sudo ./install.sh --test installs it)"}`,
  async () => {
    // -P: where the files lie that install.sh reads in.
    const { stdout } = await run(["shellcheck", "-x", "-P", root, ...scripts.map((name) => root + name)]);
    expect(stdout).toBe("");
  },
);

/** What each order needs of the kernel, on the device. A new order must say so here, and in the unit. */
const rights: Record<Act, string> = { isolate: "CAP_NET_ADMIN", release: "CAP_NET_ADMIN", scan: "CAP_SYS_PTRACE" };

test("the agent's unit has the capabilities its work needs, and no other", () => {
  const unit = readFileSync(`${root}install/picket-agent.service`, "utf8");
  const sensor = ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"];
  expect(/^CapabilityBoundingSet=(.*)$/m.exec(unit)?.[1]?.split(" ").toSorted()).toEqual(
    [...new Set([...sensor, ...Object.values(rights)])].toSorted(),
  );
});

test("whoever answers a machine that wants to be a device cannot fill its disk by sending without end", async () => {
  const dir = mkdtempSync(join(tmpdir(), "picket-endless-"));
  const file = (name: string) => join(dir, name);
  const made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -days 1";
  await run(["openssl", ...made.split(" "), "-keyout", file("key"), "-out", file("cert")]);
  const server = createServer({ key: readFileSync(file("key")), cert: readFileSync(file("cert")) }, (_, response) => {
    const piece = Buffer.alloc(64 << 10);
    response.on("drain", () => response.write(piece));
    // Without a length, so that nobody knows beforehand how much it is.
    while (response.write(piece));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const url = `https://127.0.0.1:${typeof address === "object" && address ? address.port : 0}/`;
  const script = `eval "$(sed -n '/^download()/,/^}/p' '${root}install/device.sh')"; download 64 -k -o '${file("ca")}' ${url}`;
  const { code } = await run(["bash", "-c", script]);
  server.close();
  server.closeAllConnections();
  expect(code).not.toBe(0);
  expect(statSync(file("ca")).size).toBe(64 << 10);
  rmSync(dir, { recursive: true });
});
