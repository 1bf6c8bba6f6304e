// A host's network program: listens on ports, opens connections, and says what arrives. Plain TCP, and datagrams from `bind`.
import { createSocket } from "node:dgram";
import { connect, createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";

const options = JSON.parse(process.argv[2]!) as { listen: number[]; bind?: number; count?: boolean };
const open = new Map<string, Socket>();
const say = (line: Record<string, unknown>) => void process.stdout.write(`${JSON.stringify(line)}\n`);

function adopt(name: string, socket: Socket): void {
  open.set(name, socket);
  socket.setNoDelay(true);
  let received = 0;
  socket.on("data", (data) => {
    received += data.length;
    say(options.count ? { name, received } : { name, data: data.toString() });
  });
  socket.on("error", (error: NodeJS.ErrnoException) => say({ name, error: error.code ?? error.message }));
  socket.on("close", () => say({ name, closed: true }));
}

let accepted = 0;
for (const port of options.listen) {
  await new Promise<void>((resolve) =>
    createServer((socket) => {
      const name = `${port}#${accepted++}`;
      adopt(name, socket);
      say({ accepted: name });
    }).listen(port, "::", resolve),
  );
}
const datagrams = createSocket("udp4");
const { bind } = options;
if (bind !== undefined) {
  datagrams.on("message", (data, from) => say({ datagram: data.toString(), from: from.address }));
  datagrams.on("error", (error) => say({ error: error.message }));
  await new Promise<void>((resolve) => datagrams.bind(bind, () => resolve()));
  datagrams.setBroadcast(true);
}
say({ ready: true });

createInterface({ input: process.stdin }).on("line", (text) => {
  const line = JSON.parse(text) as {
    connect?: { name: string; host: string; port: number };
    say?: { name: string; data: string };
    send?: { host: string; port: number; data: string };
  };
  if (line.connect) {
    const { name, host, port } = line.connect;
    const socket = connect({ host, port });
    adopt(name, socket);
    socket.on("connect", () => say({ connected: name }));
  }
  if (line.send) datagrams.send(line.send.data, line.send.port, line.send.host, () => {});
  if (line.say) open.get(line.say.name)?.write(line.say.data);
});
