import { setTimeout as sleep } from "node:timers/promises";
import type { StreamItem } from "@picket/protocol/rest";
import type { SiteClient } from "./client.ts";
import { asSiteError, type SiteError } from "./site-error.ts";

const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 8000;

export type FollowHandlers = {
  /** After every connect, the first included: read here what the stream cannot tell. Items wait in the socket until it is done, so none is missed. */
  readonly open: () => Promise<void> | void;
  readonly item: (item: StreamItem) => void;
  readonly lost: (error: SiteError, retryInMs: number) => void;
};

/** Follows the live stream until `signal` aborts, connecting again with doubling, jittered pauses. Never throws. */
export async function follow(client: Pick<SiteClient, "stream" | "access">, on: FollowHandlers, signal: AbortSignal): Promise<void> {
  let failures = 0;
  while (!signal.aborted) {
    // Its own, so that a failed `open` also ends the connection it had.
    const attempt = new AbortController();
    try {
      const items = await client.stream(AbortSignal.any([signal, attempt.signal]));
      await on.open();
      failures = 0;
      for await (const item of items) {
        if (signal.aborted) return;
        on.item(item);
      }
    } catch (error) {
      if (signal.aborted) return;
      const pauseMs = retryPauseMs(failures++, Math.random());
      on.lost(asSiteError(error, client.access.url), pauseMs);
      attempt.abort();
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    } finally {
      attempt.abort();
    }
  }
}

/** 250 ms x 2^n up to 8 s, of which a random half is taken off, so that consoles do not all come back at once. `random` is 0-1. */
export const retryPauseMs = (failures: number, random: number) =>
  Math.round(Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures, 10)) * (1 - random / 2));
