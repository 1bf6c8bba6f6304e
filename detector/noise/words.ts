// How a rule that matches nearly everything is told.
import type { RuleFacts } from "../finding.ts";
import { INTERVAL_MS, NOISY } from "./noise.ts";

export const noisyRule: RuleFacts = {
  id: "picket-noisy-rule",
  title: "A rule matches nearly everything on a device",
  level: "medium",
  attack: { tactics: [], techniques: [] },
  score: 0,
  alerts: true,
};

export const noisyWords = ({ title }: RuleFacts): string =>
  `"${title}" matched ${NOISY.matches} events and more within ${INTERVAL_MS / 60_000} minutes, ${NOISY.share * 100} % and more of all there were: what it matches there is counted, and left out of alerts and scores until it matches less. Somebody who floods it may be hiding something.`;
