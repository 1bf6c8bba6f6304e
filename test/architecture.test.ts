// The direction of the whole system, as a test: which part may know which, and who owns each effect.
import { dirname, join } from "node:path";
import { expect, test } from "vitest";

// part -> the parts it may import. Everything else is a bug, whatever it fixes today.
const mayImport: Record<string, readonly string[]> = {
  protocol: [],
  rules: ["protocol"],
  agent: ["protocol", "rules", "node-nftables"],
  "node-nftables": [],
  broker: ["protocol"],
  detector: ["protocol", "rules", "models"],
  models: ["protocol"],
  tui: ["protocol"],
  cli: ["protocol", "rules", "broker", "detector", "models", "tui"],
};

// module -> the only places that may import it, and why.
const owners: Record<string, { in: readonly string[]; why: string }> = {
  "bun:ffi": {
    in: ["agent/bpf/", "agent/fallback/libc.ts"],
    why: "a wrong pointer kills the sensor, so all pointers live in one folder, and those for kernels without BPF in one file",
  },
  "bun:sqlite": { in: ["agent/buffer/", "broker/store/"], why: "one writer, one schema, one drop policy" },
  mqtt: { in: ["agent/uplink/", "broker/mesh/", "detector/feed/"], why: "everything else must work with the network down" },
  "@virustotal/yara-x": { in: ["detector/engines/yara/"], why: "it takes strangers' files, in a thread that may end" },
  aedes: { in: ["broker/mqtt/"], why: "the traps of the MQTT server are closed in one folder" },
  "node-nftables": { in: ["agent/response/"], why: "only the response changes a host" },
  "onnxruntime-node": {
    in: ["detector/engines/onnx/", "models/train/"],
    why: "how the native part is found and loaded is known in one folder",
  },
  "onnxruntime-common": {
    in: ["detector/engines/onnx/", "models/train/"],
    why: "how the native part is found and loaded is known in one folder",
  },
};

// Parts whose folders are wired by main.ts (or a file at the part's root) and do not know each other.
const wired = ["agent", "broker", "detector"];
// Shared by its siblings on purpose: the store is the broker's state of record, bpf the sensor's kernel side.
const shared: Record<string, readonly string[]> = { agent: ["bpf"], broker: ["store"], detector: [] };

const root = new URL("..", import.meta.url).pathname;
const importOf = /(?:from|import)\s*\(?\s*["']([^"']+)["']/g;
const isTest = (file: string) => /\.test\.tsx?$|\/testing\//.test(file);

type Import = { readonly file: string; readonly name: string; readonly target: string };

async function importsOf(part: string): Promise<Import[]> {
  const found: Import[] = [];
  for await (const file of new Bun.Glob(`${part}/**/*.{ts,tsx}`).scan({ cwd: root })) {
    if (file.includes("node_modules/")) continue;
    const code = await Bun.file(root + file).text();
    for (const [, name = ""] of code.matchAll(importOf)) {
      const target = name.startsWith(".") ? join(dirname(file), name) : name.replace(/^@picket\//, "");
      found.push({ file, name, target });
    }
  }
  return found;
}

const partOf = (target: string) => target.split("/", 1)[0]!;

for (const part of Object.keys(mayImport)) {
  const imports = await importsOf(part);
  const shipped = imports.filter(({ file }) => !isTest(file));

  test(`${part} exists and imports only what it may`, () => {
    expect(imports.length).toBeGreaterThan(0);
    for (const { file, name, target } of shipped) {
      const other = partOf(target);
      if (other in mayImport && other !== part)
        expect(mayImport[part], `${file} imports ${name}: parts know only those below them`).toContain(other);
    }
  });

  test(`${part}: effects stay with their owners`, () => {
    for (const { file, name } of shipped) {
      const owner = owners[name];
      if (owner)
        expect(
          owner.in.some((place) => file.startsWith(place)),
          `${file} imports ${name}: ${owner.why}`,
        ).toBe(true);
    }
  });

  test(`${part}: no import cycles`, () => {
    const edges = Map.groupBy(
      shipped.filter(({ target }) => partOf(target) === part),
      ({ file }) => file,
    );
    const state = new Map<string, "open" | "done">();
    const visit = (file: string, path: readonly string[]): void => {
      expect(state.get(file), `import cycle: ${[...path, file].join(" -> ")}`).not.toBe("open");
      if (state.get(file) === "done") return;
      state.set(file, "open");
      for (const { target } of edges.get(file) ?? []) visit(target, [...path, file]);
      state.set(file, "done");
    };
    for (const file of edges.keys()) visit(file, []);
  });
}

test.each(wired)("%s: sibling folders do not import each other", async (part) => {
  for (const { file, name, target } of await importsOf(part)) {
    const [, from, ...rest] = file.split("/");
    const [other, to, ...deeper] = target.split("/");
    // A file of a package that exports no path to it is imported by its path.
    if (isTest(file) || other !== part || rest.length === 0 || deeper.length === 0 || from === to || to === "node_modules") continue;
    expect(shared[part], `${file} imports ${name}: ${part}'s root files wire its folders`).toContain(to);
  }
});

test("what trains models is shipped to nobody", async () => {
  for (const part of Object.keys(mayImport)) {
    for (const { file, name, target } of await importsOf(part)) {
      if (isTest(file) || file.startsWith("models/train/")) continue;
      expect(target, `${file} imports ${name}: models/train is never part of a program`).not.toMatch(/^models\/train\//);
    }
  }
});

test("the environment is read only in main and config files", async () => {
  for (const part of Object.keys(mayImport)) {
    for await (const file of new Bun.Glob(`${part}/**/*.{ts,tsx}`).scan({ cwd: root })) {
      if (file.includes("node_modules/") || isTest(file) || /(^|\/)(main|config)\.ts$/.test(file)) continue;
      expect(await Bun.file(root + file).text(), `${file} reads the environment: take it as a parameter`).not.toMatch(
        /process\.env\b|Bun\.env\b/,
      );
    }
  }
});
