// The same as storm.c where there is no C compiler: slower, so that every watcher looks cheaper beside it.
import { closeSync, constants, openSync } from "node:fs";

const FILES = 64;
const [opens, every, plain, watched, execs, program] = process.argv.slice(2);
const folders = [plain!, watched!].map((folder) => Array.from({ length: FILES }, (_, file) => `${folder}/${file}`));
const before = process.cpuUsage();
const began = process.hrtime.bigint();
let count = 0;
for (let at = 0; at < Number(opens); at++) {
  const folder = Number(every) > 0 && at % Number(every) === 0 ? 1 : 0;
  closeSync(openSync(folders[folder]![at % FILES]!, constants.O_RDONLY));
  count += folder;
}
const took = process.hrtime.bigint() - began;
const used = process.cpuUsage(before);
for (let at = 0; at < Number(execs); at++) Bun.spawnSync([program!]);
console.log(`${took} ${used.user * 1000} ${used.system * 1000} ${count}`);
