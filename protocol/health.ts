// What `/healthz` says, of each program: that it lives, that it could work, and that what it is for really happens.
import * as z from "zod";

const Check = z.object({
  ok: z.boolean(),
  /** Why not; empty when it is. */
  why: z.array(z.string().max(512)).max(32),
});

export const Health = z.object({
  part: z.enum(["agent", "broker", "detector"]),
  version: z.string().max(64),
  /** It answers. */
  live: Check,
  /** It has what it needs: store, sensor, connections. */
  ready: Check,
  /** Events flow through it. */
  useful: Check,
});
export type Health = z.infer<typeof Health>;

/** For those who may not know more. */
export const HealthBrief = z.object({ live: z.boolean(), ready: z.boolean(), useful: z.boolean() });
export type HealthBrief = z.infer<typeof HealthBrief>;

/** What is asked: all three, or one of them. */
export type Question = "all" | keyof HealthBrief;

const MAX_REASONS = 32;
const MAX_WHY = 512;

/** `why` may hold undefined for what is well. */
export const health = (part: Health["part"], version: string, why: { ready: Reasons; useful: Reasons }): Health => ({
  ...{ part, version, live: checkOf([]), ready: checkOf(why.ready), useful: checkOf(why.useful) },
});
type Reasons = readonly (string | undefined)[];

function checkOf(reasons: Reasons): Health["live"] {
  const why = reasons.filter((reason) => reason !== undefined);
  return { ok: why.length === 0, why: why.slice(0, MAX_REASONS).map((reason) => reason.slice(0, MAX_WHY)) };
}

export const briefOf = ({ live, ready, useful }: Health): HealthBrief => ({ live: live.ok, ready: ready.ok, useful: useful.ok });

/** `/healthz`, `/healthz/live`, `/healthz?live` and so on; undefined for any other path. `target`: of a request line. */
export function questionOf(target: string): Question | undefined {
  const [path = "", query] = target.split("?", 2);
  const asked =
    path === "/healthz" ? (query ?? "") : path.startsWith("/healthz/") && query === undefined ? path.slice("/healthz/".length) : undefined;
  if (asked === "live" || asked === "ready" || asked === "useful") return asked;
  return asked === "" && path === "/healthz" ? "all" : undefined;
}

/** 200 when the answer to `question` is yes, 503 when it is no. */
export function statusOf({ live, ready, useful }: HealthBrief, question: Question): 200 | 503 {
  const answer = { all: live && ready && useful, live, ready, useful }[question];
  return answer ? 200 : 503;
}
