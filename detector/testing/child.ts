// A detector as a process of its own, so that a test can kill -9 it. Says "ready" when the broker has accepted it.
import { DetectorConfig } from "../config.ts";
import { jsonLog } from "../log.ts";
import { detectorOptions, startDetector } from "../main.ts";

const [dir, port, rules] = process.argv.slice(2);
const log = jsonLog((line) => process.stderr.write(line), Date.now);
const detector = await startDetector(
  await detectorOptions(
    DetectorConfig.parse({
      dir,
      host: "localhost",
      port: Number(port),
      warmUpExecs: 20,
      scan: false,
      rules: rules === undefined ? [] : [rules],
      models: { cmdline: false, behaviour: false },
    }),
    log,
  ),
);
await detector.ready;
console.log("ready");
