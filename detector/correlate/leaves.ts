// What a step makes the device remember for longer than chains look back: one row for each mark.
import { type EventOf, processOf, type SensorEvent } from "@picket/protocol/event";
import { isFresh, STEP_MS } from "../freshness.ts";
import { baseName } from "../text.ts";
import { isWorkOfTool } from "./burst.ts";
import type { Mark, MarkName } from "./marks.ts";
import { CHAIN_MS } from "./match.ts";
import type { ProcessNode, Step } from "./node.ts";
import { placeOf } from "./places.ts";
import { isNoisyTool } from "./programs.ts";
import { isStart } from "./steps.ts";
import { impairs, isEditor, isFetcher, isFilter, isPoolPort, isRansomNote, isWebServer, namesPool, stagedBy, stepsOut } from "./tools.ts";
import { traitsOf } from "./traits.ts";

export type Left = { readonly name: MarkName; readonly subject: string; readonly who: string };
type Marked = (name: MarkName, subject: string) => Mark | undefined;

const inWords = (step: Step, what: string): string => `${step.program}${step.node.pid > 0 ? ` (pid ${step.node.pid})` : ""} ${what}`;
const isOdd = (path: string): boolean => placeOf(path) === "odd";

/** What a step leaves behind. */
export function leftBy(step: Step, marked: Marked): Left[] {
  switch (step.kind) {
    case "write":
    case "rename":
      return ofFile(step, marked);
    case "connect":
      return ofConnection(step, marked);
    case "mount":
      return step.contained && !step.noisy && /^\/dev\/|^cgroup/.test(step.path) ? [escaping(step)] : [];
    default:
      return isStart(step.kind) ? ofStart(step) : [];
  }
}

function ofFile(step: Step, marked: Marked): Left[] {
  const { path, place, exe, argv, receivedMs } = step;
  const what = inWords(step, `wrote ${path}`);
  if (place === "host") return step.contained && !step.noisy ? [escaping(step)] : [];
  const left: Left[] = [];
  const moved = step.from !== "" && marked("fetched", step.from) !== undefined;
  const copied = isFilter(exe) && argv.some((arg) => arg.startsWith("/") && arg !== path && marked("fetched", arg) !== undefined);
  if (moved || copied || ((place === "odd" || place === "web") && isBrought(step)))
    left.push({ name: "fetched", subject: path, who: what });
  if (place === "web" && isWebServer(exe, argv) && /\.(?:ph\w+|jspx?|cgi|pl|py|asp|sh)$/.test(path))
    left.push({ name: "script", subject: "", who: what });
  if (place === "start" && !isKeeper(step) && !isWorkOfTool(step.node, receivedMs))
    left.push({ name: "persisted", subject: "", who: what });
  return left;
}

/** Whether a file came from the network: its writer fetches, or is a script that connected, or takes what its neighbour fetches. */
function isBrought(step: Step): boolean {
  const { exe, argv, node, parent, receivedMs } = step;
  if (step.noisy || isWorkOfTool(node, receivedMs)) return false;
  if (isFetcher(exe, argv)) return true;
  if (traitsOf(exe).interpreter) return node.steps.some((one) => one.kind === "connect" && one.node === node && isNear(one, step, STEP_MS));
  return (
    isFilter(exe) &&
    (parent?.steps ?? []).some(
      (one) => one.kind === "connect" && one.parent === parent && isFetcher(one.exe, one.argv) && isNear(one, step, CHAIN_MS),
    )
  );
}

/** The file may be made before the connection: `curl URL > /tmp/x` opens it first. */
function ofConnection(step: Step, marked: Marked): Left[] {
  const { exe, argv, node, parent, port } = step;
  const left: Left[] = [];
  const isScript = traitsOf(exe).interpreter;
  if ((isFetcher(exe, argv) || isScript) && !step.noisy) {
    const of = (above: ProcessNode, isIts: (deed: Step) => boolean) =>
      above.deeds.filter((deed) => deed.kind === "write" && (deed.place === "odd" || deed.place === "web") && isIts(deed));
    const own = of(node, (deed) => deed.node === node && isNear(deed, step, isScript ? STEP_MS : CHAIN_MS));
    const beside =
      parent && !isScript ? of(parent, (deed) => deed.parent === parent && isFilter(deed.exe) && isNear(deed, step, CHAIN_MS)) : [];
    if (own.length + beside.length > 0 && !isWorkOfTool(node, step.receivedMs))
      for (const deed of [...own, ...beside].slice(-4))
        left.push({ name: "fetched", subject: deed.path, who: inWords(step, `connected to ${step.object} and wrote ${deed.path}`) });
  }
  const isStrange = !step.noisy && (traitsOf(exe).odd || marked("fetched", exe) !== undefined);
  if (node.pid > 0 && ((isStrange && isPoolPort(port)) || namesPool(argv)))
    left.push({ name: "mining", subject: `${node.pid}:${exe}`, who: inWords(step, `connected to the pool ${step.object}`) });
  return left;
}

function ofStart(step: Step): Left[] {
  const { exe, argv, program, node, receivedMs } = step;
  if (step.contained && !step.noisy && stepsOut(program, argv)) return [escaping(step)];
  const archive = stagedBy(exe, argv, isOdd);
  if (archive !== undefined) return [{ name: "staged", subject: archive, who: inWords(step, `packed ${archive}`) }];
  if (impairs(program, argv) && !isWorkOfTool(node, receivedMs))
    return [{ name: "impaired", subject: "", who: inWords(step, `ran ${argv.join(" ")}`) }];
  return [];
}

/** A login from an address that tried out many before. */
export function leftByLogin({ body }: EventOf<"auth.login">, refused: number, enough: number, marked: Marked): Left[] {
  const { remoteIp, user, ok, method } = body;
  if (remoteIp === undefined) return [];
  if (!ok) return refused >= enough ? [{ name: "guessed", subject: remoteIp, who: `${refused} logins from ${remoteIp} were refused` }] : [];
  return marked("guessed", remoteIp)
    ? [{ name: "entered", subject: "", who: `${user} logged in from ${remoteIp} by ${method}, after many refusals` }]
    : [];
}

/** A note that asks for ransom, by the process that wrote it and by the one that started it. */
export function leftByNote(event: SensorEvent, node: ProcessNode, parent: ProcessNode | undefined): Left[] {
  const process = processOf(event);
  if (event.type !== "file.create" || !process || !isRansomNote(event.body.file.path) || isNoisyTool(process.exe, process.argv)) return [];
  const who = `${baseName(process.exe)} wrote ${event.body.file.path}`;
  return [node, ...(parent ? [parent] : [])].map((one) => ({ name: "note", subject: one.key, who }));
}

const escaping = (step: Step): Left => ({
  name: "escaping",
  subject: "",
  who: inWords(step, `in a container, reached for ${step.object}`),
});
const isNear = (a: Step, b: Step, ms: number): boolean =>
  Math.abs(a.timeMs - b.timeMs) <= ms && isFresh(a.receivedMs, b.receivedMs, STEP_MS);

const keepers = new Set(
  `useradd usermod userdel adduser deluser groupadd groupdel groupmod gpasswd passwd chpasswd chage chsh chfn newusers systemctl systemd-sysusers systemd-firstboot visudo
   update-rc.d resolvconf dhclient NetworkManager cloud-init update-motd logrotate ldconfig pam-auth-update timedatectl hostnamectl localectl etckeeper picket picket-agent`
    .trim()
    .split(/\s+/),
);
/** Programs whose work it is, and people at an editor. */
const isKeeper = ({ exe, program, argv }: Step): boolean =>
  keepers.has(program) || isEditor(exe) || (program === "crontab" && argv.includes("-e"));
