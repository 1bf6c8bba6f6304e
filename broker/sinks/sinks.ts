// Where alerts leave the site. Wires one courier to each configured sink.
import { randomUUID } from "node:crypto";
import type { SinkStatus } from "@picket/protocol/rest";
import { Courier, type Queue } from "./courier.ts";
import { BadSink, checkWebhook, post, type WebhookConfig } from "./webhook.ts";

export type SinksDeps = {
  readonly site: string;
  readonly webhooks: readonly WebhookConfig[];
  readonly queue: Queue & {
    configure(sinks: readonly { name: string; each: "incident" | "alert" }[]): void;
    counts(sink: string): {
      queued: number;
      delivered: number;
      failed: number;
      dropped: number;
      lastError: string | undefined;
      lastDeliveryMs: number | undefined;
    };
  };
  readonly nowMs: () => number;
  /** 0 up to 1; spreads retries. */
  readonly random: () => number;
  /** Told about faults of our own disk; a receiver's failures show in `status()`. */
  readonly report: (error: unknown) => void;
};

export type Sinks = AsyncDisposable & {
  /** To be called after an alert was committed. */
  wake(): void;
  status(): SinkStatus[];
  /** Sends a marked test message at once, past the queue. Undefined when no sink has this name. */
  test(name: string): Promise<{ ok: boolean; detail: string } | undefined>;
};

/** Starts delivery, beginning with what waits from before. Throws `BadSink` when a sink cannot work as configured. */
export function startSinks({ site, webhooks, queue, nowMs, random, report }: SinksDeps): Sinks {
  for (const webhook of webhooks) checkWebhook(webhook);
  const names = webhooks.map(({ name }) => name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw new BadSink(`sink "${twice}" is configured twice: give each its own name`);
  queue.configure(webhooks.map(({ name, each }) => ({ name, each: each ?? "incident" })));
  const stop = new AbortController();
  const couriers = webhooks.map(
    (webhook) =>
      new Courier({
        sink: webhook.name,
        queue,
        send: (message, signal) => post(webhook, message, { nowMs: nowMs(), signal }),
        nowMs,
        random,
        report,
      }),
  );
  const wake = () => {
    for (const courier of couriers) courier.wake();
  };
  wake();
  return {
    wake,
    status: () => webhooks.map((webhook) => statusOf(webhook, queue.counts(webhook.name))),
    async test(name) {
      const webhook = webhooks.find((one) => one.name === name);
      if (!webhook) return undefined;
      const failure = await post(webhook, testMessage(site, nowMs()), { nowMs: nowMs(), signal: stop.signal });
      return failure ? { ok: false, detail: failure.error } : { ok: true, detail: "delivered" };
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await Promise.all(couriers.map((courier) => courier[Symbol.asyncDispose]()));
    },
  };
}

function statusOf({ name, url }: WebhookConfig, counts: ReturnType<SinksDeps["queue"]["counts"]>): SinkStatus {
  const { lastError, lastDeliveryMs, ...numbers } = counts;
  return {
    name,
    kind: "webhook",
    url,
    ...numbers,
    ...(lastError === undefined ? {} : { lastError }),
    ...(lastDeliveryMs === undefined ? {} : { lastDeliveryMs }),
  };
}

function testMessage(site: string, nowMs: number): { id: string; payload: string } {
  const data = { site, message: "A test, ordered by an operator. Nothing happened." };
  return { id: `test.${randomUUID()}`, payload: JSON.stringify({ type: "test", timestamp: new Date(nowMs).toISOString(), data }) };
}
