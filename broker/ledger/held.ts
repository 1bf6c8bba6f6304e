// What is held in which hour, found without going through all hours: a device chooses how many there are, and when each is asked for.

/** Counts by hour. */
export class Held {
  readonly #counts = new Map<number, number>();
  /** Those with a count above 0, rising. */
  readonly #hours: number[] = [];

  constructor(of: Iterable<{ readonly hour: number; readonly count: number }>) {
    for (const { hour, count } of of) this.add(hour, count);
  }

  /** All that ever held something, also what came to 0. */
  get counts(): ReadonlyMap<number, number> {
    return this.#counts;
  }

  /** Adds, or takes away where `count` is negative. */
  add(hour: number, count: number): void {
    const before = this.#counts.get(hour) ?? 0;
    this.#counts.set(hour, before + count);
    if (before > 0 === before + count > 0) return;
    const at = this.#from(hour);
    if (before > 0) this.#hours.splice(at, 1);
    else this.#hours.splice(at, 0, hour);
  }

  /** Where to take `count`, as far as there is so much: nearest to an hour, of two as near the earlier one; or oldest first. Takes nothing. */
  find(count: number, near?: number): { hour: number; part: number }[] {
    const found: { hour: number; part: number }[] = [];
    let later = near === undefined ? 0 : this.#from(near);
    let earlier = later - 1;
    for (let left = count; left > 0; ) {
      const before = this.#hours[earlier];
      const after = this.#hours[later];
      const isBefore = before !== undefined && near !== undefined && (after === undefined || near - before <= after - near);
      const hour = isBefore ? before : after;
      if (hour === undefined) break;
      if (isBefore) earlier--;
      else later++;
      const part = Math.min(left, this.#counts.get(hour) ?? 0);
      found.push({ hour, part });
      left -= part;
    }
    return found;
  }

  /** Index of the first hour that is not before this one. */
  #from(hour: number): number {
    let low = 0;
    for (let high = this.#hours.length; low < high; ) {
      const middle = (low + high) >> 1;
      if (this.#hours[middle]! < hour) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
