// What the alert about lost events says, and how bad it is: by the share that was lost, and by what it was.
import type { Severity } from "@picket/protocol/alert";
import type { LossNews } from "../store/ledger-news.ts";

/** Shares of what the device did within the hour. */
const HALF = 0.5;
const SOME = 0.01;

const scores: Record<"low" | "medium" | "high", number> = { low: 15, medium: 35, high: 60 };

/** Worst first: what nobody can explain, what had a hit, and then by number. */
export function lossAlert(device: string, news: LossNews): { severity: Severity; score: number; summary: (count: number) => string } {
  const { lost, caused, unexplained, hits, results } = news;
  const share = caused > 0 ? Math.min(lost / caused, 1) : 1;
  const severity = unexplained > 0 || hits + results > 0 || share >= HALF ? "high" : share >= SOME || news.power > 0 ? "medium" : "low";
  const urgent = [hits > 0 ? `${hits} with hits of rules` : "", results > 0 ? `${results} results of orders` : ""]
    .filter(Boolean)
    .join(", ");
  const parts = [
    unexplained > 0 ? `${unexplained} are missing without a report: tampering, or a fault of Picket` : "",
    ...[
      { count: news.evicted, text: `dropped from its full buffer${urgent ? ` (${urgent})` : ""}` },
      { count: news.power, text: "at most lost with its power" },
      { count: news.kernel, text: "in the kernel (too many at once)" },
      { count: news.shed, text: "let go of by the agent (above its rate)" },
    ]
      .filter(({ count }) => count > 0)
      .sort((a, b) => b.count - a.count)
      .map(({ count, text }) => `${count} ${text}`),
  ];
  const percent = share >= 1 ? 100 : Math.min(99.99, Math.ceil(share * 10_000) / 100);
  return {
    severity,
    score: scores[severity],
    summary: (count) =>
      `${count} events of ${device} were lost, ${percent} % of what it told of within this hour: ${parts.filter(Boolean).join("; ")}.`,
  };
}
