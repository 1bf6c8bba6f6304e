// One event seen through Sigma's field names. Values are made on first use and kept until the next event: a hundred rules ask for the same command line.
import type { SensorEvent } from "@picket/protocol/event";
import type { Getter, Value } from "./fields.ts";
import { fold } from "./fold.ts";

export type Texts = string | readonly string[] | undefined;

export class View {
  #event!: SensorEvent;
  #stamp = 0;
  readonly #value: Value[] = [];
  readonly #text: Texts[] = [];
  readonly #lower: Texts[] = [];
  readonly #valueAt: number[] = [];
  readonly #textAt: number[] = [];
  readonly #lowerAt: number[] = [];
  readonly #folded: Texts[] = [];
  readonly #foldedAt: number[] = [];

  look(event: SensorEvent): void {
    this.#event = event;
    this.#stamp++;
  }

  /** A new place for values of `get`. Slots belong to one event type each. */
  slot(): number {
    this.#valueAt.push(0);
    this.#textAt.push(0);
    this.#lowerAt.push(0);
    this.#foldedAt.push(0);
    return this.#value.push(undefined) - 1;
  }

  value(slot: number, get: Getter): Value {
    if (this.#valueAt[slot] !== this.#stamp) {
      this.#valueAt[slot] = this.#stamp;
      this.#value[slot] = get(this.#event);
    }
    return this.#value[slot];
  }

  text(slot: number, get: Getter): Texts {
    if (this.#textAt[slot] !== this.#stamp) {
      this.#textAt[slot] = this.#stamp;
      const value = this.value(slot, get);
      this.#text[slot] = typeof value === "number" || typeof value === "boolean" ? String(value) : value;
    }
    return this.#text[slot];
  }

  lower(slot: number, get: Getter): Texts {
    if (this.#lowerAt[slot] !== this.#stamp) {
      this.#lowerAt[slot] = this.#stamp;
      const text = this.text(slot, get);
      this.#lower[slot] = typeof text === "string" ? text.toLowerCase() : text?.map((item) => item.toLowerCase());
    }
    return this.#lower[slot];
  }

  /** As `fold` has it. */
  folded(slot: number, get: Getter): Texts {
    if (this.#foldedAt[slot] !== this.#stamp) {
      this.#foldedAt[slot] = this.#stamp;
      const lower = this.lower(slot, get);
      this.#folded[slot] = typeof lower === "string" ? fold(lower) : lower?.map(fold);
    }
    return this.#folded[slot];
  }
}
