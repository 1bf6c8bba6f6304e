// What can be said of the installer's scripts and units without a machine to run them on.
import { readFileSync } from "node:fs";
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
const rights: Record<Act, string> = { isolate: "CAP_NET_ADMIN", release: "CAP_NET_ADMIN" };

test("the agent's unit has the capabilities its work needs, and no other", () => {
  const unit = readFileSync(`${root}install/picket-agent.service`, "utf8");
  const sensor = ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"];
  expect(/^CapabilityBoundingSet=(.*)$/m.exec(unit)?.[1]?.split(" ").toSorted()).toEqual(
    [...new Set([...sensor, ...Object.values(rights)])].toSorted(),
  );
});
