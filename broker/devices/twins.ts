// Two machines that use one certificate take each other's connection away, again and again. This tells that from one machine that reconnects or restarts.

/** An epoch is made anew at every agent start, so one that comes back after another was seen belongs to a second, living agent. */
const REMEMBERED_EPOCHS = 8;
/** Take-overs of a live connection by another address, within the window, before it is called more than a change of network. */
const TAKEOVERS = 4;
const WINDOW_MS = 60_000;

type Memory = { epochs: string[]; takeoversMs: number[] };

export class Twins {
  readonly #memory = new Map<string, Memory>();

  /** A heartbeat of `device` in `epoch`. True when it proves a second agent. */
  heartbeat(device: string, epoch: string): boolean {
    const { epochs } = this.#of(device);
    if (epochs.at(-1) === epoch) return false;
    const returned = epochs.indexOf(epoch);
    if (returned >= 0) epochs.splice(returned, 1);
    epochs.push(epoch);
    if (epochs.length > REMEMBERED_EPOCHS) epochs.shift();
    return returned >= 0;
  }

  /** A new connection took over a live one. True when this happens too often from changing addresses. */
  takeover(device: string, from: { oldAddress: string; newAddress: string }, nowMs: number): boolean {
    if (from.oldAddress === from.newAddress) return false;
    const memory = this.#of(device);
    memory.takeoversMs = [...memory.takeoversMs.filter((at) => at > nowMs - WINDOW_MS), nowMs].slice(-TAKEOVERS);
    return memory.takeoversMs.length >= TAKEOVERS;
  }

  #of(device: string): Memory {
    const memory = this.#memory.get(device) ?? { epochs: [], takeoversMs: [] };
    this.#memory.set(device, memory);
    return memory;
  }
}
