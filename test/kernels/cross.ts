// C programs for a guest's architecture: clang is every architecture's compiler; the linker and the C library come as Debian packages into a folder of ours.
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../e2e/program.ts";
import { type DebianArchitecture, debianRoot, NoPackages } from "./packages.ts";

const here: DebianArchitecture = process.arch === "arm64" ? "arm64" : "amd64";
const names: Record<DebianArchitecture, { readonly triple: string; readonly binutils: string; readonly loader: string }> = {
  amd64: { triple: "x86_64-linux-gnu", binutils: "binutils-x86-64-linux-gnu", loader: "lib64/ld-linux-x86-64.so.2" },
  arm64: { triple: "aarch64-linux-gnu", binutils: "binutils-aarch64-linux-gnu", loader: "lib/ld-linux-aarch64.so.1" },
};

/** Compiles the C file `source` into the static program `out`. Throws `NoPackages` when a part of the compiler cannot be had, and what clang says otherwise. */
export async function compileC(architecture: DebianArchitecture, source: string, out: string): Promise<void> {
  if (!Bun.which("clang")) throw new NoPackages("clang is not installed: sudo ./install.sh --test installs it");
  const dir = mkdtempSync(join(tmpdir(), "picket-cross-"));
  try {
    const foreign = architecture === here ? [] : await crossFlags(architecture, dir);
    const { code, stderr } = await run(["clang", "-O1", "-static", ...foreign, "-o", out, source]);
    if (code !== 0) throw new Error(`${source} cannot be compiled for ${architecture}: ${stderr.trim()}`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function crossFlags(architecture: DebianArchitecture, dir: string): Promise<string[]> {
  const { triple, binutils } = names[architecture];
  // Compiler and libraries of one suite have one version.
  const own = join("/usr/lib/gcc", names[here].triple);
  const version = existsSync(own) ? readdirSync(own).toSorted((a, b) => Number(b) - Number(a))[0] : undefined;
  if (version === undefined) throw new NoPackages(`${own} is empty: clang comes with it`);
  const libraries = await debianRoot({ architecture, packages: ["libc6-dev", `libgcc-${version}-dev`] });
  const tools = await debianRoot({ architecture: here, packages: [binutils] });
  const linker = join(dir, "ld");
  // The linker with the C library it came with.
  const command = [
    join(tools, names[here].loader),
    "--library-path",
    join(tools, "usr/lib", names[here].triple),
    join(tools, "usr/bin", `${triple}-ld`),
  ];
  writeFileSync(linker, `#!/bin/sh\nexec ${command.map((word) => `'${word}'`).join(" ")} "$@"\n`);
  chmodSync(linker, 0o755);
  return [`--target=${triple}`, `--sysroot=${libraries}`, `--ld-path=${linker}`];
}
