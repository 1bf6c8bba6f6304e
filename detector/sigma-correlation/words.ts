// One plain sentence for a correlation: how many of what, for whom, how fast.
import type { Correlation } from "@picket/rules/correlation/correlation";
import { clean } from "../text.ts";
import type { Found } from "./judge.ts";
import type { Tally } from "./part.ts";

const MAX_TITLE = 80;
const LISTED = 5;

/** How a field is joined to a sentence. */
const joined: Readonly<Record<string, string>> = {
  User: "for",
  SourceIp: "from",
  DestinationIp: "to",
  DestinationPort: "port",
  Computer: "on",
  ComputerName: "on",
  Hostname: "on",
  Image: "by",
  ParentImage: "started by",
};

type TitleOf = (rule: string) => string;

/** `shown`: the group's values. */
export function foundWords(of: Correlation, found: Found, shown: readonly string[], titleOf: TitleOf): string {
  const { entries, value } = found;
  const within = `within ${span(entries.at(-1)!.timeMs - entries[0]!.timeMs)}`;
  const whom = groupWords(of, shown);
  const events = entries.reduce((total, { count }) => total + count, 0);
  switch (of.type) {
    case "temporal":
    case "temporal_ordered": {
      const rules = [...new Set(entries.map(({ what }) => Number(what)))].map((at) => quoted(titleOf(of.rules[at] ?? "")));
      return `${rules.join(of.type === "temporal" ? ", and " : ", then ")}${whom} ${within}`;
    }
    case "value_count": {
      const values = [...new Set(entries.map(({ what }) => what))];
      const listed = values.slice(0, LISTED).map((what) => clean(what, MAX_TITLE));
      const more = values.length > LISTED ? ", ..." : "";
      return `${value} different ${names(of)} (${listed.join(", ")}${more}) in ${titles(of, titleOf)}${whom} ${within}`;
    }
    case "value_sum":
      return `${names(of)} of ${events} times ${titles(of, titleOf)} adds up to ${round(value)}${whom} ${within}`;
    default:
      return `${events} times ${titles(of, titleOf)}${whom} ${within}`;
  }
}

/** Of a window that is over. */
export function tallyWords(
  of: Correlation,
  { tallies, value, what }: { tallies: readonly Tally[]; value: number; what: string | undefined },
  titleOf: TitleOf,
): string {
  const events = tallies.reduce((total, { count }) => total + count, 0);
  const where = `${groupWords(of, tallies[0]!.shown)} in ${span(of.timespanMs)}`;
  const all = `${events} times ${titles(of, titleOf)}`;
  switch (of.type) {
    case "value_percentile":
      return `${names(of)} ${clean(what ?? "", MAX_TITLE)} makes up ${round(value)} % of ${all}${where}`;
    case "value_avg":
      return `${names(of)} of ${all} is ${round(value)} on average${where}`;
    case "value_sum":
      return `${names(of)} of ${all} adds up to ${round(value)}${where}`;
    case "value_count":
      return `${value} different ${names(of)} in ${all}${where}`;
    default:
      return `${all}${where}`;
  }
}

const quoted = (title: string) => `"${clean(title, MAX_TITLE)}"`;
const names = ({ fields }: Correlation) => fields.map(({ name }) => name).join(" and ");
const round = (value: number) => Number(value.toFixed(2));

function titles({ rules }: Correlation, titleOf: TitleOf): string {
  const listed = rules.slice(0, LISTED).map((rule) => quoted(titleOf(rule)));
  return listed.join(" or ") + (rules.length > LISTED ? " or others" : "");
}

const groupWords = ({ groupBy }: Correlation, shown: readonly string[]): string =>
  groupBy.map(({ name }, at) => ` ${joined[name] ?? clean(name, MAX_TITLE)} ${shown[at] ?? ""}`).join("");

/** "5 minutes"; what is less than a second is one. */
function span(ms: number): string {
  const units: readonly [string, number][] = [
    ["day", 86_400_000],
    ["hour", 3_600_000],
    ["minute", 60_000],
  ];
  const [unit, size] = units.find(([, size]) => ms >= 2 * size || ms === size) ?? ["second", 1000];
  const count = Math.max(1, Math.ceil(ms / size));
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}
