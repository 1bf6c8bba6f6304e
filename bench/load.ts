// An MQTT 3.1.1 client that does nothing but QoS 1, so that what is measured is the broker: the same for Picket and for mosquitto.
import { connect, type TLSSocket } from "node:tls";
import type { DeviceIdentity } from "./site.ts";

const CONNECT = 0x10;
const CONNACK = 0x20;
const PUBLISH_QOS1 = 0x32;
const PUBACK = 0x40;
const KEEPALIVE_S = 300;

export type Target = { readonly port: number; readonly ca: string };
export type LoadClient = Disposable & {
  /** Publishes all, at most `window` unacknowledged at a time. Resolves with the last PUBACK; rejects when the connection ends before. */
  publish(topic: string, payloads: readonly Uint8Array[], window: number): Promise<void>;
};

/** TLS 1.3 with a client certificate, then CONNECT. Rejects when the broker refuses. */
export async function openClient(target: Target, who: DeviceIdentity, clientId: string): Promise<LoadClient> {
  const socket = await dial(target, who);
  let take: (type: number) => void = () => {};
  let fail: (error: Error) => void = () => {};
  readPackets(socket, (type) => take(type));
  socket.on("error", (error) => fail(error));
  socket.on("close", () => fail(new Error(`the broker closed the connection of ${who.name}`)));
  await new Promise<void>((resolve, reject) => {
    fail = reject;
    take = (type) => (type === CONNACK ? resolve() : reject(new Error(`packet ${type} instead of CONNACK`)));
    socket.write(connectPacket(clientId));
  });
  return {
    publish: (topic, payloads, window) =>
      new Promise((resolve, reject) => {
        fail = reject;
        let sent = 0;
        let acknowledged = 0;
        const send = () => {
          if (sent >= payloads.length) return;
          socket.write(publishHeader(topic, payloads[sent]!.length, (sent % 0xffff) + 1));
          socket.write(payloads[sent++]!);
        };
        take = (type) => {
          if (type !== PUBACK) return;
          if (++acknowledged === payloads.length) resolve();
          else send();
        };
        socket.cork();
        for (let at = 0; at < window; at++) send();
        socket.uncork();
      }),
    [Symbol.dispose]: () => {
      fail = () => {};
      socket.destroy();
    },
  };
}

function dial({ port, ca }: Target, { key, cert }: DeviceIdentity): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, ca, key, cert, minVersion: "TLSv1.3" });
    socket.once("error", reject);
    socket.once("secureConnect", () => {
      socket.off("error", reject);
      socket.setNoDelay(true);
      resolve(socket);
    });
  });
}

/** A broker answers us with packets of two or four bytes only: CONNACK, PUBACK, PINGRESP. */
function readPackets(socket: TLSSocket, take: (type: number) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    let at = 0;
    while (at + 2 <= bytes.length && at + 2 + bytes[at + 1]! <= bytes.length) {
      const type = bytes[at]!;
      if (type === CONNACK && bytes[at + 3] !== 0) socket.destroy(new Error(`CONNECT refused with code ${bytes[at + 3]}`));
      else take(type);
      at += 2 + bytes[at + 1]!;
    }
    rest = bytes.subarray(at);
  });
}

const text = (value: string) => {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
};

/** MQTT 3.1.1, section 2.2.3. */
function remainingLength(length: number): number[] {
  const bytes: number[] = [];
  for (let left = length; ; ) {
    const byte = left & 0x7f;
    left >>= 7;
    bytes.push(left > 0 ? byte | 0x80 : byte);
    if (left === 0) return bytes;
  }
}

function connectPacket(clientId: string): Buffer {
  const clean = 0x02;
  const body = Buffer.concat([text("MQTT"), Buffer.from([4, clean, KEEPALIVE_S >> 8, KEEPALIVE_S & 0xff]), text(clientId)]);
  return Buffer.concat([Buffer.from([CONNECT, ...remainingLength(body.length)]), body]);
}

function publishHeader(topic: string, payloadBytes: number, id: number): Buffer {
  const name = text(topic);
  const length = remainingLength(name.length + 2 + payloadBytes);
  return Buffer.concat([Buffer.from([PUBLISH_QOS1, ...length]), name, Buffer.from([id >> 8, id & 0xff])]);
}
