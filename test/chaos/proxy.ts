// Run as a program: the wire between fleets and the broker, which can be bad in every way a wire can be. Told on standard input, one JSON a line.
import { connect, createServer, type Socket } from "node:net";
import type { WireMode } from "./plan.ts";

/**
 * `from` is the client's address. What the modes do, to connections there are and to new ones, until the next order:
 * stall: nothing passes, either way, and nothing is closed. half-open: connections are taken and never hear anything again, not even afterwards.
 * deaf: the broker hears the device, the device does not hear the broker, so that what was stored is not known to be; ended with a reset.
 * reset: every connection is reset. trickle: 512 bytes each 20 ms. delay: everything 300 ms late.
 */
export type WireOrder = { readonly from: string; readonly mode: WireMode | "pass" };

const TRICKLE_BYTES = 512;
const TRICKLE_MS = 20;
const DELAY_MS = 300;

type Pair = { readonly client: Socket; readonly server: Socket; dead: boolean };

function main(listen: string, target: string, port: number): void {
  const modes = new Map<string, WireOrder["mode"]>();
  const pairs = new Map<string, Set<Pair>>();
  createServer((client) => {
    const from = (client.remoteAddress ?? "").replace(/^::ffff:/, "");
    client.on("error", () => {});
    if (modes.get(from) === "reset") return void client.resetAndDestroy();
    const server = connect(port, target);
    server.on("error", () => client.resetAndDestroy());
    const pair: Pair = { client, server, dead: modes.get(from) === "half-open" };
    const all = pairs.get(from) ?? new Set();
    pairs.set(from, all.add(pair));
    client.on("close", () => {
      all.delete(pair);
      server.destroy();
    });
    server.on("close", () => pair.dead || client.destroy());
    void carry(client, server, () => (pair.dead ? "half-open" : modes.get(from)), "up");
    void carry(server, client, () => (pair.dead ? "half-open" : modes.get(from)), "down");
  }).listen(port, listen, () => console.log("proxy listens"));

  const obey = ({ from, mode }: WireOrder) => {
    const before = modes.get(from);
    modes.set(from, mode);
    for (const pair of pairs.get(from) ?? []) {
      if (mode === "half-open") pair.dead = true;
      if (mode === "reset" || before === "deaf") {
        pair.client.resetAndDestroy();
        pair.server.resetAndDestroy();
      }
    }
  };
  let rest = "";
  process.stdin.on("data", (chunk) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) obey(JSON.parse(line));
  });
  process.stdin.on("end", () => process.exit(0));
}

/** One direction of a connection. */
async function carry(from: Socket, to: Socket, mode: () => WireOrder["mode"] | undefined, way: "up" | "down"): Promise<void> {
  try {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      while (mode() === "stall") await Bun.sleep(20);
      if (mode() === "half-open" || (mode() === "deaf" && way === "down")) continue;
      if (mode() === "delay") await Bun.sleep(DELAY_MS);
      const step = mode() === "trickle" ? TRICKLE_BYTES : chunk.length;
      for (let at = 0; at < chunk.length; at += step) {
        if (step < chunk.length) await Bun.sleep(TRICKLE_MS);
        if (!to.write(chunk.subarray(at, at + step))) await drained(to);
      }
    }
  } catch {
    // A connection that broke: its "close" tidies up.
  }
  if (mode() !== "half-open") to.destroy();
}

const drained = (socket: Socket) =>
  new Promise<void>((resolve) => {
    const done = () => {
      socket.off("drain", done).off("close", done);
      resolve();
    };
    socket.on("drain", done).on("close", done);
  });

const [listen = "", target = "", port = ""] = process.argv.slice(2);
main(listen, target, Number(port));
