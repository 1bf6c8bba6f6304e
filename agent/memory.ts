/** Once the start is over, then now and then. A collection of this heap takes about 15 ms: a twentieth of a percent of a core. */
const FIRST_MS = 5_000;
const EVERY_MS = 30_000;

/**
 * Gives memory back that the runtime would keep. JavaScriptCore lets garbage grow to a multiple of the live heap before it collects, which on a
 * board with 512 MB costs others more than it saves us. `collect` is synchronous.
 */
export function keepSmall(collect: () => void = () => Bun.gc(true)): Disposable {
  const first = setTimeout(collect, FIRST_MS);
  const every = setInterval(collect, EVERY_MS);
  return {
    [Symbol.dispose]: () => {
      clearTimeout(first);
      clearInterval(every);
    },
  };
}
