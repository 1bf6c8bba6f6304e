import type { Device } from "@picket/protocol/rest";
import { cut, wrap } from "../cells.ts";
import { blank, fill, type Line, line, span } from "../line.ts";
import type { Prompt as Question } from "../state/state.ts";
import { presenceWords, spanWords } from "../words.ts";
import { exceptionLines } from "./exception-dialog.ts";
import { Lines } from "./lines.tsx";

type Props = {
  readonly prompt: Question;
  readonly device: Device | undefined;
  readonly deadManMs: number;
  readonly nowMs: number;
  readonly columns: number;
  readonly rows: number;
};

/** A question in place of the list. It says what will happen to whom before it asks. */
export function Prompt({ prompt, device, deadManMs, nowMs, columns, rows }: Props) {
  const lines = linesOf({ prompt, device, deadManMs, nowMs, columns });
  return <Lines lines={fill(lines, rows)} columns={columns} />;
}

function linesOf({ prompt, device, deadManMs, nowMs, columns }: Omit<Props, "rows">): Line[] {
  switch (prompt.kind) {
    case "note":
      return noteLines(prompt.typed, ["Note", ` for this ${prompt.incident ? "incident" : "alert"}; other operators see it`], columns);
    case "find":
      return noteLines(prompt.typed, ["Find", " in the incidents: title, device, story, technique, who has it; empty shows all"], columns);
    case "close":
      return closeLines(prompt, columns);
    case "exception":
      return exceptionLines(prompt, nowMs, columns);
    case "order":
      return orderLines(prompt, device, deadManMs, nowMs, columns);
  }
}

const AFTER_CLOSE = {
  alert: "More of the same within its ten minutes only counts up. It opens again when it gets worse; later it is a new alert.",
  incident: "All its alerts are closed with it. A new alert opens it again; closed as nothing, only one that is worse or of another rule.",
};

function closeLines({ title, verdict, typed, incident }: Extract<Question, { kind: "close" }>, columns: number): Line[] {
  const rows = wrap(typed, columns - 5);
  const choice = (key: string, words: string, chosen: boolean) =>
    line("   ", span(key, "key"), ` ${words}`, chosen ? span("  chosen", "good") : "");
  return [
    blank,
    line("  ", span("CLOSE ", "title"), span(cut(title, columns - 10), "title")),
    blank,
    choice("t", "true positive: it was real, and is dealt with", verdict === "true_positive"),
    choice("f", "false positive: it was nothing", verdict === "false_positive"),
    blank,
    ...wrap(incident ? AFTER_CLOSE.incident : AFTER_CLOSE.alert, columns - 4).map((row) => line("  ", span(row, "faint"))),
    ...(verdict === undefined
      ? []
      : [
          blank,
          line("  ", span("Note", "title"), " (may stay empty); other operators see it"),
          blank,
          ...rows.map((row, index) => line("  ", row, ...(index === rows.length - 1 ? [span("▏", "key")] : []))),
        ]),
  ];
}

function orderLines(
  prompt: Extract<Question, { kind: "order" }>,
  device: Device | undefined,
  deadManMs: number,
  nowMs: number,
  columns: number,
): Line[] {
  const isolate = prompt.act === "isolate";
  const text = (value: string) => wrap(value, columns - 4).map((row) => line("  ", row));
  return [
    blank,
    line(
      "  ",
      span(isolate ? "ISOLATE " : "RELEASE ", isolate ? "critical" : "high"),
      span(prompt.device, "title"),
      device ? ` (${presenceWords(device, nowMs)})` : "",
    ),
    blank,
    ...(isolate
      ? [
          ...text(
            "It keeps only its connection to this site. Everything else stops at once, also sessions that are open now: its users and its work are cut off.",
          ),
          blank,
          ...text(`It lets itself go if it cannot reach the site for ${spanWords(deadManMs)}. It stays isolated across reboots.`),
        ]
      : text("Its network comes back as it was. Whatever runs on it can talk to anyone again.")),
    ...(device && device.presence !== "online"
      ? [blank, ...text("It is not connected: the order waits at the site until it is back.")]
      : []),
    blank,
    ...text(`Reason: ${prompt.reason}`),
    blank,
    line("  Type the device's name to confirm: ", span(cut(prompt.typed, columns - 42), "title"), span("▏", "key")),
    line(
      "  ",
      prompt.typed === "" || prompt.typed === prompt.device
        ? ""
        : prompt.device.startsWith(prompt.typed)
          ? span("…", "faint")
          : span(`does not match ${prompt.device}`, "bad"),
    ),
  ];
}

function noteLines(typed: string, [title, about]: readonly [string, string], columns: number): Line[] {
  const rows = wrap(typed, columns - 5);
  return [
    blank,
    line("  ", span(title, "title"), about),
    blank,
    ...rows.map((row, index) => line("  ", row, ...(index === rows.length - 1 ? [span("▏", "key")] : []))),
  ];
}
