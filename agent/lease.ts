// What the buffer gives out and the uplink sends: neither knows the other.
import type { SensorEvent } from "@picket/protocol/event";

/** Events of one epoch, sequence numbers rising, that nobody else is given until they are released. */
export type Lease = {
  readonly id: number;
  readonly epoch: string;
  readonly boot: string;
  /** Lowest sequence number of this epoch that the device still held when the lease was given. */
  readonly oldest: number;
  readonly events: readonly SensorEvent[];
};

/** Where the uplink takes events from. None of these throws. */
export interface EventSource {
  /** A connection begins: what is made from now on shall not wait until all that is older has been sent. */
  connected(): void;
  /** At most `events` events and, beyond the first, `bytes` bytes of JSON; undefined when nothing is free. Events with hits come first. */
  lease(max: { events: number; bytes: number }): Lease | undefined;
  /** The broker has stored these events: delete them. */
  ack(lease: Lease): void;
  /** The broker did not answer: put them back where they were. */
  release(lease: Lease): void;
  /** Events that wait and are not leased; `urgent` ones overtake. */
  waiting(): { events: number; urgent: number };
}
