// A broker in a process of its own, to be killed.

/** Resolves when it listens. */
export async function startKillable(dir: string) {
  const child = Bun.spawn(["bun", new URL("child.ts", import.meta.url).pathname, dir], { stdout: "pipe", stderr: "inherit" });
  const reader = child.stdout.getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the broker ended before it listened");
    text += new TextDecoder().decode(value);
  }
  return {
    ...(JSON.parse(text) as { mqttPort: number; httpsPort: number }),
    kill: async () => {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}
