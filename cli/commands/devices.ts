// `picket devices`
import type { Device } from "@picket/protocol/rest";
import { coverageWords, isolationOf, isolationWords, presenceWords } from "@picket/tui/words";
import type { Command } from "commander";
import { siteOf } from "../access.ts";
import { printJson, printLine, printTable } from "../output.ts";

export function addDevices(program: Command): void {
  program
    .command("devices")
    .description("list the site's devices")
    .option("--json", "one JSON object: { devices: [...] }")
    .addHelpText(
      "after",
      "\nExamples:\n  picket devices\n  picket devices --json | jq -r '.devices[] | select(.presence != \"online\") | .id'",
    )
    .action(async (options: { json?: boolean }, command: Command) => {
      const { devices } = await siteOf(command).call("devices");
      if (options.json) return printJson({ devices });
      if (devices.length === 0)
        return printLine(
          "No device is enrolled yet. Next: picket token create --out TOKEN, then on the device: picket-agent enroll --token-file TOKEN",
        );
      printTable(["device", "coverage", "isolated", "open alerts", "status"], devices.map(row));
    });
}

const row = (device: Device): string[] => [
  device.id,
  coverageWords(device.coverage),
  isolationWords[isolationOf(device)],
  String(device.openAlerts),
  presenceWords(device, Date.now()),
];
