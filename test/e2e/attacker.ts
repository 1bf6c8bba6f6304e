// The attacker's end: takes connections, says something ten times a second, prints what it hears. Our own, harmless.
const [host = "", port = ""] = process.argv.slice(2);
const sockets = new Set<import("bun").Socket>();
Bun.listen({
  hostname: host,
  port: Number(port),
  socket: {
    open: (socket) => void sockets.add(socket),
    close: (socket) => void sockets.delete(socket),
    data: (_, bytes) => console.log(`heard ${JSON.stringify(bytes.toString())}`),
  },
});
let said = 0;
setInterval(() => {
  said++;
  for (const socket of sockets) socket.write(`tick ${said}\n`);
}, 100);
console.log(`listening on ${host}`);
