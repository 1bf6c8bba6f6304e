import { wrap } from "../cells.ts";
import { type Line, line, span, type Tone } from "../line.ts";
import type { ConsoleState, Job } from "../state/state.ts";
import { Lines } from "./lines.tsx";

const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

type Props = { readonly state: ConsoleState; readonly columns: number };

/** What the last key did, or the latest order. One row, so that nothing jumps; a failure takes the rows its reason needs, up to three. */
export function StatusLine({ state, columns }: Props) {
  return <Lines lines={statusLines(state, columns)} columns={columns} />;
}

/** Rows of the status line as it stands now. */
export function statusLines(state: ConsoleState, columns: number): Line[] {
  const job = latest(state.jobs);
  if (state.message) return rows(state.message.text, state.message.tone, columns);
  if (!job) return [line(" ")];
  if (job.outcome === "done") return rows(`✓ done: ${job.words}`, "good", columns);
  if (job.outcome === "failed") return rows(`✗ failed: ${job.words}`, "bad", columns);
  const more = state.jobs.filter((one) => one.outcome === "pending").length - 1;
  const others = more > 0 ? `(+${more} more on the way) ` : "";
  const spent = Math.max(0, state.nowMs - job.startedMs);
  const frame = FRAMES[Math.floor(spent / 1000) % FRAMES.length]!;
  return [line(" ", span(`${frame} ${others}${job.act}: ${job.words}… ${Math.floor(spent / 1000)} s`, "key"))];
}

const rows = (text: string, tone: Tone, columns: number) =>
  wrap(text, columns - 2)
    .slice(0, 3)
    .map((row) => line(" ", span(row, tone)));

const latest = (jobs: readonly Job[]) => jobs.at(-1);
