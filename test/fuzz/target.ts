// What is fuzzed: something that takes bytes from the network, with inputs it likes to start from.

export type Target = {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  /** Makes an input of its own kind, from a random source in [0, 1). Without it bytes of the seeds are changed. */
  readonly make?: (random: () => number) => Uint8Array;
  /** Takes one input. What it throws is a finding, unless it is a refusal. */
  readonly run: (bytes: Uint8Array) => void | Promise<void>;
  /** What may be thrown: refusals that say what is wrong. */
  readonly refusals?: readonly (abstract new (
    ...args: never[]
  ) => Error)[];
  /** Called at the end; throws when something did not hold. */
  readonly finish?: () => Promise<void>;
};
