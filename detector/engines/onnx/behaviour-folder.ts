// Where a site keeps the behaviour models it learnt: <site>/models/behaviour/<version>/, and `current`, which names the one in use. Written by `picket model`.
import {
  chownSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { MAX_FILE_BYTES, type ModelFiles, modelFiles } from "@picket/models/behaviour/files";

/** In `current`, and in `picket model use`: the model Picket ships. */
export const START = "start";
const CURRENT = "current";
const VERSION = /^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$/;

export const isVersion = (text: string): boolean => VERSION.test(text) && text !== CURRENT;

/** The folder of a site's behaviour models. */
export const modelsFolder = (siteDir: string): string => join(siteDir, "models", "behaviour");

/** The version in use; `START` where none was chosen. Throws when the pointer cannot be read or names no version. */
export function currentVersion(folder: string): string {
  const path = join(folder, CURRENT);
  if (!existsSync(path)) return START;
  const text = readFileSync(path, "utf8").trim();
  if (!isVersion(text)) throw new Error(`${path} names no version: choose one with \`picket model use behaviour VERSION\``);
  return text;
}

/** What changes when another version is chosen. */
export function currentStamp(folder: string): string {
  const stat = statSync(join(folder, CURRENT), { throwIfNoEntry: false });
  return stat ? `${stat.ino} ${stat.mtimeMs} ${stat.size}` : "none";
}

/** Versions that were learnt, oldest first. */
export function versions(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && isVersion(entry.name))
    .map(({ name }) => name)
    .sort();
}

/** The files of a version. Throws when one is missing or too large. */
export function readVersion(folder: string, version: string): ModelFiles {
  const read = (name: string) => {
    const path = join(folder, version, name);
    const size = statSync(path, { throwIfNoEntry: false })?.size;
    if (size === undefined) throw new Error(`${path} is missing`);
    if (size > MAX_FILE_BYTES) throw new Error(`${path} has ${size} bytes, more than ${MAX_FILE_BYTES}`);
    return readFileSync(path);
  };
  return { "model.onnx": read("model.onnx"), "tables.json": read("tables.json"), "manifest.json": read("manifest.json") };
}

/** Stores a new version, whole or not at all, and does not choose it yet. Throws when it is there already or cannot be written. */
export function writeVersion(folder: string, version: string, files: ModelFiles, card: string): void {
  if (!isVersion(version) || version === START) throw new Error(`${version} cannot be the name of a version`);
  const target = join(folder, version);
  if (existsSync(target)) throw new Error(`${target} is there already`);
  makeFolder(folder);
  const made = mkdtempSync(join(folder, ".new-"));
  try {
    for (const name of modelFiles) writeSynced(join(made, name), files[name]);
    writeSynced(join(made, "card.md"), card);
    for (const path of [made, ...[...modelFiles, "card.md"].map((name) => join(made, name))]) ownLike(folder, path);
    sync(made);
    renameSync(made, target);
    sync(folder);
  } catch (error) {
    rmSync(made, { recursive: true, force: true });
    throw error;
  }
}

/** Chooses a version in one step; a running detector sees it within seconds. Throws when there is no such version. */
export function useVersion(folder: string, version: string): void {
  if (version !== START && !versions(folder).includes(version)) throw new Error(`there is no version ${version} in ${folder}`);
  makeFolder(folder);
  const made = join(folder, `.${CURRENT}-${process.pid}`);
  writeSynced(made, `${version}\n`);
  ownLike(folder, made);
  renameSync(made, join(folder, CURRENT));
  sync(folder);
}

/** With the owner of the site's directory: root may have called. */
function makeFolder(folder: string): void {
  const models = dirname(folder);
  for (const path of [models, folder]) {
    if (existsSync(path)) continue;
    mkdirSync(path, { mode: 0o750 });
    ownLike(dirname(models), path);
  }
}

function ownLike(like: string, path: string): void {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = statSync(like);
  chownSync(path, uid, gid);
}

function writeSynced(path: string, data: Uint8Array | string): void {
  writeFileSync(path, data, { mode: 0o640 });
  sync(path);
}

function sync(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
