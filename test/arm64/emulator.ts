// How programs for arm64 are started here: by this machine itself where it is one, else by qemu-user with Debian's arm64 libraries.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DebianArchitecture, Wanted } from "../kernels/packages.ts";
import { debianRoot, NoPackages } from "../kernels/packages.ts";

/** The Raspberry Pi 4's processor: no instruction that only newer ones have. */
const CPU = "cortex-a72";
const architecture: DebianArchitecture = "arm64";
/** All that Bun and the ONNX runtime are linked to. */
const wanted: Wanted = { architecture, packages: ["base-files", "libc6", "libstdc++6", "libgcc-s1"] };

/** The words to put before a program's, or why there are none. */
export async function arm64Runner(): Promise<readonly string[] | { readonly why: string }> {
  if (process.arch === "arm64") return [];
  // Debian 13 and later name the static one without the suffix.
  const qemu = Bun.which("qemu-aarch64-static") ?? Bun.which("qemu-aarch64");
  if (!qemu) return { why: "qemu-user-static is not installed: sudo ./install.sh --test installs it" };
  try {
    const root = await debianRoot(wanted);
    // Before 8.1 qemu-user shows the processor of this machine, and the ONNX runtime crashes on what it cannot read. What lies below -L hides it.
    writeFileSync(join(root, "proc/cpuinfo"), [0, 1].map(cpuinfo).join("\n"));
    return [qemu, "-cpu", CPU, "-L", root];
  } catch (error) {
    if (error instanceof NoPackages) return { why: error.message };
    throw error;
  }
}

/** As Linux describes a Cortex-A72. */
const cpuinfo = (processor: number) =>
  `processor\t: ${processor}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
`;
