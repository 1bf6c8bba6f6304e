import { closeSync, constants, fstatSync, openSync, readSync, statSync } from "node:fs";

const HEAD_BYTES = 256; // BINPRM_BUF_SIZE: what the kernel looks at.

export type Shebang = { readonly interpreter: string; readonly argument: string | undefined };

/** The first line of a script as fs/binfmt_script.c in the Linux source reads it: everything after the interpreter is one argument. */
export function parseShebang(head: Uint8Array): Shebang | undefined {
  if (head[0] !== 0x23 || head[1] !== 0x21) return undefined;
  const text = Buffer.from(head).toString("utf8", 2).split("\n", 1)[0]!.split("\0", 1)[0]!;
  const match = /^[ \t]*([^ \t]+)[ \t]*(.*?)[ \t]*$/.exec(text);
  if (!match) return undefined;
  return { interpreter: match[1]!, argument: match[2] === "" ? undefined : match[2] };
}

/** Scripts that the kernel follows until there has to be a program (exec_binprm in fs/exec.c). */
const MAX_SCRIPTS = 5;

/** `argv`: what the program is given in place of the first argument of the call. */
export type Chain = { readonly program: string; readonly argv: readonly string[] };

/**
 * Follows a script to the program at its end: the interpreter of a script may be a script itself. `read` reads the first line of a file. With `end`, the program that
 * the kernel named, only a chain that leads there. Undefined for what is no script, and where files are gone or have changed since.
 */
export function followScripts(path: string, read: (path: string) => Shebang | undefined, end?: string): Chain | undefined {
  let argv = [path];
  let program = path;
  for (let scripts = 0; scripts < MAX_SCRIPTS && (program === path || program !== end); scripts++) {
    const line = read(program);
    if (!line) break;
    argv = [line.interpreter, ...(line.argument === undefined ? [] : [line.argument]), ...argv];
    program = line.interpreter;
  }
  return program === path || (end !== undefined && program !== end) ? undefined : { program, argv };
}

/**
 * Reads a script's first line; undefined when the file is gone, cannot be read or is no script. Never waits: by now its owner may have put a FIFO in its place,
 * which would be waited for until somebody writes to it, or a link to a device, where opening alone can do something.
 */
export function readShebang(path: string): Shebang | undefined {
  let fd: number | undefined;
  try {
    if (!statSync(path).isFile()) return undefined;
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    if (!fstatSync(fd).isFile()) return undefined;
    const head = new Uint8Array(HEAD_BYTES);
    return parseShebang(head.subarray(0, readSync(fd, head, 0, HEAD_BYTES, 0)));
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
