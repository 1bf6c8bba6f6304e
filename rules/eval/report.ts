// What was measured, as tables: Markdown, which is plain enough for a terminal.
import { type Form, forms } from "./forms.ts";
import { headline, type Measured, type Share } from "./measure.ts";

const percent = (part: number, of: number, digits = 1) => (of === 0 ? "-" : `${((100 * part) / of).toFixed(digits)} %`);
const caught = ({ lines, alerts }: Share) => percent(alerts, lines);
const perThousand = ({ lines, alerts }: Share) => (lines === 0 ? "-" : ((1000 * alerts) / lines).toFixed(1));
const kinds = ["overt", "dual_use", "benign", "benign exec"] as const;
const words = { overt: "overt attacks", dual_use: "dual use", benign: "benign lines", "benign exec": "benign program starts" };

/** The tables that docs/detection.md keeps. */
export function summary(measured: Measured): string {
  const at = measured.kinds[headline];
  const rows = kinds.map((kind) => {
    const { A, B, both } = at[kind];
    const show = kind.startsWith("benign") ? (share: Share) => percent(share.alerts, share.lines, 2) : caught;
    return [words[kind], String(both.lines), show(A), show(B), show(both), percent(both.any, both.lines)];
  });
  const { lines, alerts, any } = measured.trace;
  rows.push(["program starts of honest work, recorded", String(lines), "", "", percent(alerts, lines, 2), percent(any, lines)]);
  const { techniques } = measured;
  return [
    table(["what", "lines", "alert, half A", "alert, half B", "alert, all", "any rule"], rows),
    table(
      ["form of a line", "overt, A", "overt, B", "benign, all"],
      (Object.keys(forms) as Form[]).map((form) => {
        const { overt, benign } = measured.kinds[form];
        return [`${form}: ${forms[form]}`, caught(overt.A), caught(overt.B), percent(benign.both.alerts, benign.both.lines, 2)];
      }),
    ),
    table(
      ["ATT&CK", "of", "with an alert", "with a rule that names the technique"],
      [
        ["Atomic Red Team tests", techniques.tests, techniques.alerts, techniques.named].map(String),
        ["techniques among all attacks", techniques.known, techniques.seen, techniques.seenByName].map(String),
      ],
    ),
    table(
      ["overt lines by source", "lines", "alert", "alert by a rule that is also right about another source"],
      measured.sources
        .filter(({ kind }) => kind === "overt")
        .map(({ source, share, known }) => [source, String(share.lines), caught(share), percent(known, share.lines)]),
    ),
    table(
      ["overt lines of half B, disguised", "alert"],
      measured.evasions.map(({ name, share }) => [name, caught(share)]),
    ),
  ].join("\n\n");
}

/** Sources and rules, one a line: for those who write rules. */
export function details(measured: Measured): string {
  const sources = measured.sources.map(({ kind, source, share }) => [
    `${source}, ${words[kind]}`,
    String(share.lines),
    caught(share),
    perThousand(share),
    percent(share.any, share.lines),
  ]);
  const used = measured.rules
    .filter(({ overt, dual, benign, trace }) => overt + dual + benign + trace > 0)
    .sort((a, b) => b.overt - a.overt)
    .map(({ rule, overt, dual, benign, trace }) => [
      rule.file.replace(/^builtin\//, ""),
      rule.level,
      ...[overt, dual, benign, trace].map(String),
    ]);
  const silent = measured.rules.length - used.length;
  return [
    table(["source", "lines", "alert", "alerts per 1,000", "any rule"], sources),
    table(["rule", "level", "overt", "dual use", "benign", "recorded"], used),
    `${silent} rules match none of these lines: most of them ask for other events than program starts.`,
  ].join("\n\n");
}

/** Padded as the formatter pads it. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_, column) => Math.max(3, ...[head, ...rows].map((row) => row[column]!.length)));
  const line = (cells: readonly string[]) => `| ${cells.map((cell, column) => cell.padEnd(widths[column]!)).join(" | ")} |`;
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}
