import type { Device } from "@picket/protocol/rest";
import { cellsOf, wrap } from "../cells.ts";
import { type Line, line, type Span, span } from "../line.ts";
import type { ConsoleState } from "../state/state.ts";
import { clockWords, coverageWords, isDark, isolationOf, spanWords } from "../words.ts";
import { Lines } from "./lines.tsx";

type Props = { readonly state: ConsoleState; readonly columns: number };

/** The worst first: what is open, what we cannot see, what was lost. */
export function Header({ state, columns }: Props) {
  return <Lines lines={[headerLine(state, columns), ...banners(state, columns)]} columns={columns} />;
}

/** Rows the header takes now. */
export const headerRows = (state: ConsoleState, columns: number) => 1 + banners(state, columns).length;

function headerLine(state: ConsoleState, columns: number): Line {
  const clock = clockWords(state.nowMs);
  const site = state.site ? state.site.site : "…";
  const left: Span[] = [span(columns >= 100 ? ` PICKET  ${site}` : ` ${site}`, "title"), span("  ")];
  let used = left.reduce((sum, { text }) => sum + cellsOf(text), 0);
  for (const fact of factsOf(state, columns >= 120)) {
    const cells = cellsOf(fact.text) + 2;
    if (used + cells > columns) break;
    // Good news that may be old is no good news.
    left.push(state.connection.state === "lost" && fact.tone === "good" ? span(fact.text, "faint") : fact, span("  "));
    used += cells;
  }
  const space = columns - used - cellsOf(clock) - 1;
  return space >= 0 ? line(...left, " ".repeat(space), span(clock, "faint")) : line(...left);
}

/** Most pressing first: what does not fit is left out from the end. */
function factsOf(state: ConsoleState, wide: boolean): Span[] {
  if (!state.site && state.dataMs === undefined) return [];
  const opened = [...state.alerts.values()].filter((one) => one.status === "open");
  // A site older than this knows no incidents.
  const counts = state.site?.incidents ?? (state.incidents.size > 0 ? undefined : state.site?.alerts);
  const counted = state.site?.incidents || state.incidents.size > 0 ? [...state.incidents.values()] : opened.filter((one) => !one.origin);
  const open = (severity: string) => counted.filter((one) => one.status === "open" && one.severity === severity).length;
  // The site counts all of them; the list may hold less. While a count is on its way, the higher of the two is the safe one.
  const critical = Math.max(open("critical"), counts?.critical ?? 0);
  const high = Math.max(open("high"), counts?.high ?? 0);
  const devices = [...state.devices.values()].filter((device) => device.trust === "enrolled");
  const facts: Span[] = [];
  if (critical > 0) facts.push(span(`${critical} CRITICAL`, "critical"));
  if (high > 0) facts.push(span(`${high} HIGH`, "high"));
  if (critical + high === 0) facts.push(span("no open critical or high incident", "good"));
  const elsewhere = opened.filter((one) => one.origin).length;
  if (elsewhere > 0) facts.push(span(`${elsewhere} at other sites`));
  const dark = devices.filter(isDark).length;
  if (dark > 0) facts.push(span(`${dark}/${devices.length} offline`, "bad"));
  facts.push(coverageFact(devices, wide));
  const isolated = devices.filter((device) => isolationOf(device) !== "no").length;
  if (isolated > 0) facts.push(span(`${isolated} isolated`, "medium"));
  if (dark === 0 && devices.length > 0) facts.push(span(`${devices.length} online`, "good"));
  return facts;
}

function coverageFact(devices: readonly Device[], wide: boolean): Span {
  const [worst] = devices.filter((device) => device.coverage.lost > 0).sort((a, b) => a.coverage.ratio - b.coverage.ratio);
  if (!worst) return devices.length > 0 ? span("coverage 100 %", "good") : span("no devices");
  return span(`coverage ${coverageWords(worst.coverage)}${wide ? ` on ${worst.id}` : ""}`, "bad");
}

/** Seconds the detector may be behind before alerts that are not there yet are worth a line. */
const LATE_S = 30;

/** What makes the rest of the screen less than the truth. */
function banners(state: ConsoleState, columns: number): Line[] {
  const { connection, site } = state;
  if (connection.state === "lost") {
    const shown = state.dataMs === undefined ? "no data yet" : `showing data of ${clockWords(state.dataMs)}`;
    const away = spanWords(Math.max(1000, state.nowMs - connection.sinceMs));
    const why = wrap(connection.hint ? `${sentence(connection.why)} ${connection.hint}` : connection.why, columns - 3).slice(0, 3);
    return [`! site unreachable for ${away}, ${shown}`, ...why.map((row) => `  ${row}`)].map(banner);
  }
  if (site && !site.detector.connected) {
    const waiting = site.detector.lagBatches + (site.detector.aside?.batches ?? 0);
    return [banner(`! the detector is not connected: ${waiting} batches wait, no new alerts are decided`)];
  }
  const { lagSeconds = 0, lagBatches = 0 } = site?.detector ?? {};
  if (lagSeconds < LATE_S) return [];
  return [banner(`! the detector is ${spanWords(lagSeconds * 1000)} behind, ${lagBatches} batches wait: new alerts come late`)];
}

const sentence = (text: string) => (/[.!?]$/.test(text) ? text : `${text}.`);
const banner = (text: string): Line => ({ ...line(text), banner: true });
