// `picket devices`
import type { Device } from "@picket/protocol/rest";
import { worstDeviceFirst } from "@picket/tui/state/order";
import { coverageWords, isDark, isolationOf, isolationWords, presenceWords } from "@picket/tui/words";
import type { Command } from "commander";
import { siteOf } from "../access.ts";
import { plural, printJson, printLine, printTable } from "../output.ts";

export function addDevices(program: Command): void {
  program
    .command("devices")
    .description("list the site's devices, those in trouble first")
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
      printTable(["device", "coverage", "isolated", "open alerts", "status"], devices.toSorted(worstDeviceFirst).map(row));
      printLine(summary(devices));
    });
}

/** "500 devices: 497 online, 3 away; 2 lost events; 1 isolated". */
function summary(devices: readonly Device[]): string {
  const enrolled = devices.filter(({ trust }) => trust === "enrolled");
  const dark = enrolled.filter(isDark).length;
  const rest = [
    [dark, "away"],
    [enrolled.filter(({ openAlerts }) => openAlerts > 0).length, "with open alerts"],
    [enrolled.filter(({ coverage }) => coverage.lost > 0).length, "with lost events"],
    [enrolled.filter((device) => isolationOf(device) !== "no").length, "isolated"],
    [devices.length - enrolled.length, "revoked"],
  ].flatMap(([count, words]) => (count === 0 ? [] : [`${count} ${words}`]));
  return [`${plural(devices.length, "device")}: ${enrolled.length - dark} online`, ...rest].join(", ");
}

const row = (device: Device): string[] => [
  device.id,
  coverageWords(device.coverage),
  isolationWords[isolationOf(device)],
  String(device.openAlerts),
  presenceWords(device, Date.now()),
];
