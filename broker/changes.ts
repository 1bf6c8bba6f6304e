// What the rest of the broker may want to hear about: the live stream and the sinks listen, ingest, feed, devices and commands tell.

/** One thing that changed, by id: a listener reads the current row itself, so a burst costs it nothing to merge. */
export type Change =
  | { readonly kind: "alert"; readonly id: string; readonly created: boolean }
  | { readonly kind: "incident"; readonly id: string }
  | { readonly kind: "device"; readonly device: string }
  | { readonly kind: "command"; readonly jti: string; readonly device: string }
  | { readonly kind: "site" };

/** Tells listeners after the change is on disk. A listener that throws is reported and does not stop the others. */
export class Changes {
  #listeners = new Set<(change: Change) => void>();
  readonly #report: (error: unknown) => void;

  constructor(report: (error: unknown) => void = (error) => console.error(error)) {
    this.#report = report;
  }

  tell(change: Change): void {
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (error) {
        this.#report(error);
      }
    }
  }

  listen(listener: (change: Change) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }
}
