// draft -> rules -> shed or number -> mask -> sink. One event at a time, and no draft can stop the agent.
import type { EventDraft, Hit, SensorEvent } from "@picket/protocol/event";
import type { z } from "zod";
import type { Stamp } from "./stamp.ts";

export type Pipeline = {
  /** Never throws. */
  emit(draft: EventDraft): void;
  /** Drafts let go since the last call, for `sensor.lost`. */
  takeShed(): number;
};

export function createPipeline(of: {
  readonly stamp: Stamp;
  readonly match: (event: SensorEvent) => z.infer<typeof Hit>[];
  readonly keeps: (event: SensorEvent) => boolean;
  /** Covers what must not leave the device. After the rules, which must see the truth. */
  readonly mask: (event: SensorEvent) => SensorEvent;
  readonly sink: (event: SensorEvent) => void;
  /** Told when a draft was let go, with how many were since `takeShed` was called last. */
  readonly onShed?: (count: number) => void;
  /** A draft that could not be processed. It is counted as shed. */
  readonly onFailure: (error: unknown, draft: EventDraft) => void;
}): Pipeline {
  let shed = 0;
  const letGo = () => {
    shed++;
    of.onShed?.(shed);
  };
  return {
    emit: (draft) => {
      try {
        const event = of.stamp.event(draft);
        const hits = of.match(event);
        if (hits.length > 0) event.hits = hits;
        if (!of.keeps(event)) {
          letGo();
          return;
        }
        of.sink(of.mask(event));
        of.stamp.keep();
      } catch (error) {
        letGo();
        of.onFailure(error, draft);
      }
    },
    takeShed: () => {
      const count = shed;
      shed = 0;
      return count;
    },
  };
}
