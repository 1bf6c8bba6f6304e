// Isolation is believed only when it was seen to work: the broker answers through it, and a forbidden packet dies in it.
import { createSocket } from "node:dgram";
import { isIPv4 } from "node:net";
import { isLoopback, type Reach, reachAny } from "./reach.ts";

/** discard (RFC 863): a datagram that does get out asks for no answer. */
const PROBE_PORT = 9;
/** Documentation networks (RFC 5737, RFC 3849): where else to aim, when the broker's own address is reached over loopback. */
const NOWHERE = ["192.0.2.1", "2001:db8::1"];
const TRIES = 2;

export type Proof = {
  readonly addresses: readonly string[];
  readonly port: number;
  /** Whether the broker was reachable before the rules were applied. */
  readonly before: boolean;
  readonly reach: Reach;
  /** Packets counted so far by the isolation table's drop rule for output. */
  readonly dropped: () => Promise<number>;
};

/** Why the isolation just applied cannot be trusted, in plain words; undefined when it can. */
export async function disprove(of: Proof): Promise<string | undefined> {
  if (of.before && !(await reachAny(of.addresses, of.port, of.reach, TRIES))) {
    return `the broker was reachable before and is not behind the rules (${of.addresses.join(", ")} port ${of.port})`;
  }
  const droppedBefore = await of.dropped();
  const sent = await probe(of.addresses);
  if (sent === "no-route") return undefined;
  if ((await of.dropped()) > droppedBefore) return undefined;
  return "a forbidden packet was not counted by the drop rule: something else handles packets before it";
}

/** Sends one forbidden datagram to each target. "no-route" when the device has no way off itself, so that there is nothing to cut. */
async function probe(addresses: readonly string[]): Promise<"sent" | "no-route"> {
  const targets = [...addresses.filter((address) => !isLoopback(address)), ...NOWHERE];
  const outcomes = await Promise.all(targets.map(send));
  return outcomes.includes("sent") ? "sent" : "no-route";
}

function send(address: string): Promise<"sent" | "no-route"> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv4(address) ? "udp4" : "udp6");
    const end = (error?: Error | null) => {
      const code = (error as NodeJS.ErrnoException | null | undefined)?.code;
      socket.close();
      // EPERM is how the kernel tells the sender that a rule dropped it.
      resolve(
        code === "ENETUNREACH" || code === "EHOSTUNREACH" || code === "EADDRNOTAVAIL" || code === "EAFNOSUPPORT" ? "no-route" : "sent",
      );
    };
    socket.once("error", end);
    socket.send(Buffer.from("picket"), PROBE_PORT, address, end);
  });
}
