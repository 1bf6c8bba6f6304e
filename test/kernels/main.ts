// `bun run test:kernels [PART OF A NAME]`: causes every kind of event on booted Debian kernels, with BTF and without, and says what was seen. Takes some ten minutes.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compile, executables } from "../../compile.ts";
import type { SensorEvent } from "../../protocol/event.ts";
import { BootFailed, boot, type Kernel, type Outcome, whyNot } from "./boot.ts";
import { compileC } from "./cross.ts";
import { always, type Deed, withBpf } from "./deeds.ts";
import { NoPackages } from "./packages.ts";
import { everyEventGuest, packages } from "./product.ts";

const suites = ["bookworm-backports"];
const kernels: readonly { readonly name: string; readonly kernel: Kernel }[] = [
  { name: "arm64 6.1", kernel: { architecture: "arm64", image: "linux-image-cloud-arm64" } },
  { name: "arm64 6.12", kernel: { architecture: "arm64", image: `linux-image-cloud-arm64/${suites[0]}`, suites } },
  { name: "x86_64 6.1", kernel: { architecture: "amd64", image: "linux-image-cloud-amd64" } },
];
const steps: readonly { readonly name: string; readonly deeds: readonly Deed[] }[] = [
  { name: "tracepoints", deeds: [...always, ...withBpf] },
  { name: "raw", deeds: [...always, ...withBpf] },
  { name: "without-bpf", deeds: always },
];

type Level = { readonly name: string; readonly level: string; readonly why: string };
type Row = {
  readonly kernel: string;
  readonly step: string;
  readonly seen: string;
  readonly rssMb: number;
  readonly levels: readonly Level[];
};

/** Events shown beside one that is missing. */
const MAX_NEAR = 40;
const rows: Row[] = [];
let passed = 0;
const failures: string[] = [];
const say = (text: string) => process.stdout.write(`${text}\n`);
function expectThat(what: string, holds: boolean): boolean {
  if (holds) passed++;
  else failures.push(what);
  return holds;
}

/** For who has to find out why: what there is of the kind. */
function near(deed: Deed, events: readonly SensorEvent[]): string {
  const bodies = events.filter((event) => event.type === deed.type).map(({ body }) => `  ${JSON.stringify(body).slice(0, 400)}\n`);
  return bodies.slice(-MAX_NEAR).join("").trimEnd() || `  no ${deed.type}`;
}

function judge(btf: boolean, outcome: Outcome): void {
  const label = `${outcome.kernel} ${btf ? "BTF" : "no BTF"}`;
  for (const step of steps) {
    const reported = (what: string) => outcome.reports.get(`${step.name}-${what}`) ?? [];
    const events = reported("event").map((line): SensorEvent => JSON.parse(line));
    const levels: Level[] = JSON.parse(reported("check")[0] ?? "[]");
    const why = (of: string) => levels.find((level) => level.name === of)?.why ?? "";
    const seen = step.deeds.filter((deed) =>
      expectThat(
        `${label}, ${step.name}: ${deed.what} is not seen; seen are
${near(deed, events)}`,
        deed.seenIn(events),
      ),
    );
    const collectors = levels.filter((level) => level.name.startsWith("sensor."));
    if (step.name !== "without-bpf") {
      const off = collectors.filter(({ level }) => level !== "live").map((level) => `${level.name} is ${level.level} (${level.why})`);
      expectThat(`${label}, ${step.name}: ${off.join("; ") || "check says nothing"}`, off.length === 0 && collectors.length > 0);
      expectThat(`${label}, ${step.name}: check says of BTF "${why("sensor.bpf")}"`, why("sensor.bpf").includes("BTF is absent") !== btf);
      const raw = why("sensor.file").includes("raw_syscalls");
      expectThat(`${label}, ${step.name}: check says of files "${why("sensor.file")}"`, raw === (step.name === "raw"));
    }
    expectThat(`${label}, ${step.name}: the agent ended with ${reported("exit")[0]}`, reported("exit")[0] === "0");
    const rssMb = Math.round(Number(reported("rss")[0] ?? 0) / 1024);
    rows.push({ kernel: label, step: step.name, seen: `${seen.length}/${step.deeds.length}`, rssMb, levels: collectors });
  }
}

function table(): string {
  const names = [...new Set(rows.flatMap(({ levels }) => levels.map(({ name }) => name)))];
  const head = ["kernel", "step", "seen", "RSS, MB", ...names.map((name) => name.replace("sensor.", ""))];
  const lines = rows.map(({ kernel, step, seen, rssMb, levels }) => [
    kernel,
    step,
    seen,
    String(rssMb),
    ...names.map((name) => levels.find((level) => level.name === name)?.level ?? "-"),
  ]);
  return [head, head.map(() => "---"), ...lines].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

const wanted = process.argv[2] ?? "";
const dir = mkdtempSync(join(tmpdir(), "picket-kernels-"));
try {
  for (const { name, kernel } of kernels) {
    const boots = [true, false]
      .map((btf) => ({ btf, title: `${name}${btf ? "" : ", no BTF"}` }))
      .filter(({ title }) => title.includes(wanted));
    if (boots.length === 0) continue;
    const reason = await whyNot({ kernel, packages });
    if (reason) {
      failures.push(`${name}: cannot be booted here: ${reason}`);
      continue;
    }
    const agent = join(dir, `picket-agent-${kernel.architecture}`);
    const deeds = join(dir, `deeds-${kernel.architecture}`);
    compile({ ...executables["picket-agent"], arch: kernel.architecture === "arm64" ? "arm64" : "x64", out: agent });
    await compileC(kernel.architecture, new URL("../../agent/collectors/testing/deeds.c", import.meta.url).pathname, deeds);
    for (const { btf, title } of boots) {
      const outcome = await boot(everyEventGuest({ kernel, btf, agent, deeds }));
      const end = outcome.log.slice(-40).join("\n");
      expectThat(`${title}: the script ended with ${outcome.code}\n${end}`, outcome.code === 0);
      judge(btf, outcome);
      say(`${title}: ${Math.round(outcome.tookMs / 1000)} s`);
    }
  }
} catch (error) {
  if (!(error instanceof BootFailed || error instanceof NoPackages)) throw error;
  failures.push(error.message);
} finally {
  rmSync(dir, { recursive: true, force: true });
}
say(table());
for (const failure of failures) say(`FAILED ${failure}`);
say(`${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length === 0 ? 0 : 1;
