// A host's network program: listens on ports, opens connections, and says what arrives. Everything is plain TCP.
import { connect, createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";

const options = JSON.parse(process.argv[2]!) as { listen: number[] };
const open = new Map<string, Socket>();
const say = (line: Record<string, unknown>) => void process.stdout.write(`${JSON.stringify(line)}\n`);

function adopt(name: string, socket: Socket): void {
  open.set(name, socket);
  socket.setNoDelay(true);
  socket.on("data", (data) => say({ name, data: data.toString() }));
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
say({ ready: true });

createInterface({ input: process.stdin }).on("line", (text) => {
  const line = JSON.parse(text) as { connect?: { name: string; host: string; port: number }; say?: { name: string; data: string } };
  if (line.connect) {
    const { name, host, port } = line.connect;
    const socket = connect({ host, port });
    adopt(name, socket);
    socket.on("connect", () => say({ connected: name }));
  }
  if (line.say) open.get(line.say.name)?.write(line.say.data);
});
