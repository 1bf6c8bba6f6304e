import type { Device } from "@picket/protocol/rest";
import { blank, column, fill, type Line, line, span, type Tone } from "../line.ts";
import { coverageWords, isDark, isolationOf, isolationWords, spanWords } from "../words.ts";
import { Lines } from "./lines.tsx";

type Props = {
  readonly devices: readonly Device[];
  readonly selectedId: string | undefined;
  readonly top: number;
  readonly nowMs: number;
  readonly columns: number;
  readonly rows: number;
  readonly empty: readonly string[];
};

/** In the order given. Draws only: keys and data belong to screens/devices.tsx. */
export function DeviceList({ devices, selectedId, top, nowMs, columns, rows, empty }: Props) {
  if (devices.length === 0) return <Lines lines={fill([blank, ...empty.map((text) => line("  ", text))], rows)} columns={columns} />;
  const name = Math.max(12, columns - 64 - (columns >= 120 ? 40 : 0));
  const shown = devices.slice(top, top + rows - 1).map((device) => deviceLine(device, device.id === selectedId, nowMs, name, columns));
  return <Lines lines={fill([headLine(name, columns, top, devices.length - top - (rows - 1)), ...shown], rows)} columns={columns} />;
}

function headLine(name: number, columns: number, above: number, below: number): Line {
  const more = [above > 0 ? `↑${above}` : "", below > 0 ? `↓${below}` : ""].filter(Boolean).join(" ");
  return line(
    "  ",
    column(more ? (`device (${more})`.length < name ? `device (${more})` : more) : "device", name, "faint"),
    column("status", 10, "faint"),
    column("last seen", 11, "faint", "right"),
    column("coverage", 10, "faint", "right"),
    "  ",
    column("isolated", 16, "faint"),
    column("open alerts", 11, "faint", "right"),
    ...(columns >= 120 ? [span("   "), column("agent and kernel", 37, "faint")] : []),
  );
}

/** Why it is away, in a column of ten. */
const awayOf = ({ away }: Device): string | undefined => {
  if (away?.blackout) return "BLACKOUT";
  return away?.how === "killed" ? "KILLED" : away?.how === "lost" ? "LOST" : undefined;
};

const presence: Record<Device["presence"], { word: string; tone: Tone }> = {
  online: { word: "online", tone: "good" },
  offline: { word: "OFFLINE", tone: "bad" },
  stopped: { word: "STOPPED", tone: "bad" },
  never: { word: "never seen", tone: "medium" },
};

function deviceLine(device: Device, selected: boolean, nowMs: number, name: number, columns: number): Line {
  const revoked = device.trust === "revoked";
  const { word, tone } = revoked ? { word: "revoked", tone: "faint" as const } : presence[device.presence];
  const status = { word: device.presence === "offline" && !revoked ? (awayOf(device) ?? word) : word, tone };
  const isolation = isolationOf(device);
  const seen = device.lastSeenMs === undefined ? "-" : spanWords(nowMs - device.lastSeenMs);
  const { status: agent } = device;
  return {
    ...line(
      span(selected ? "▸ " : "  "),
      column(device.id, name - 1, revoked ? "faint" : "plain"),
      " ",
      column(status.word, 10, status.tone),
      column(seen, 11, isDark(device) ? "bad" : "plain", "right"),
      column(coverageWords(device.coverage), 10, device.coverage.lost > 0 ? "bad" : "plain", "right"),
      "  ",
      column(isolationWords[isolation], 16, isolation === "no" ? "faint" : "medium"),
      column(device.openAlerts === 0 ? "-" : String(device.openAlerts), 11, device.openAlerts > 0 ? "high" : "faint", "right"),
      ...(columns >= 120 ? [span("   "), column(agent ? `${agent.version} ${agent.arch} ${agent.kernel}` : "", 37, "faint")] : []),
    ),
    selected,
  };
}
