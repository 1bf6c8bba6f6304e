// What both machines have in common: a Debian kernel of this host's architecture, a disk behind our server, and a network that is this host's loopback.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { compile, executables } from "../../compile.ts";
import { type Kernel, machineFor, whyNot } from "../kernels/boot.ts";
import { packages } from "../kernels/product.ts";
import { whyNoImages } from "./image.ts";

const kernel: Kernel =
  process.arch === "arm64"
    ? { architecture: "arm64", image: "linux-image-cloud-arm64" }
    : { architecture: "amd64", image: "linux-image-cloud-amd64" };
const modules = ["virtio_pci", "virtio_blk", "virtio_net", "crc32c_generic", "ext4"];

/** Why no power can be cut here, or "". */
export const whyNoGuest = async (): Promise<string> => whyNoImages() || whyNot({ kernel, packages });

/** Emulation needs the processor more than we do. */
const ASK_MS = 1000;

export type GuestWishes = {
  readonly program: keyof typeof executables;
  /** In ./scripts. */
  readonly script: string;
  /** File there -> file here. */
  readonly files: Readonly<Record<string, string>>;
  /** Of qemu's user network. */
  readonly network: string;
};

/** The command that switches the machine on. `folder` keeps what it needs, and has the socket of its disk. */
export async function guestCommand(folder: string, { program, script, files, network }: GuestWishes): Promise<string[]> {
  const executable = join(folder, program);
  compile({ ...executables[program], out: executable });
  const guest = {
    ...{ kernel, packages, modules, btf: true },
    files: { [`usr/local/bin/${program}`]: executable, ...files },
    script: readFileSync(new URL(`scripts/${script}`, import.meta.url), "utf8"),
  };
  return [
    ...(await machineFor(guest, folder)),
    ...["-drive", `file=nbd:unix:${socketIn(folder)},format=raw,if=none,id=disk,cache=writeback`, "-device", "virtio-blk-pci,drive=disk"],
    ...["-netdev", `user,id=net,${network}`, "-device", "virtio-net-pci,netdev=net"],
  ];
}

export const socketIn = (folder: string): string => join(folder, "disk.socket");

/** A port of the loopback that nobody uses at the moment. */
export function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = listener;
  listener.stop(true);
  return port;
}

/** Asks each second until `isTrue`. Rejects after `patienceMs`, and when aborted. */
export async function until(
  what: string,
  patienceMs: number,
  signal: AbortSignal,
  isTrue: () => boolean | Promise<boolean>,
): Promise<void> {
  const endMs = performance.now() + patienceMs;
  while (!(await isTrue())) {
    signal.throwIfAborted();
    if (performance.now() > endMs) throw new Error(`${what}: not within ${patienceMs / 1000} s`);
    await Bun.sleep(ASK_MS);
  }
}
