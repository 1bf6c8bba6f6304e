// `picket mesh invite|join|list|...`
import { readFileSync } from "node:fs";
import { iocKinds, type MeshPeer, type MeshStatus, parseInvite } from "@picket/protocol/mesh";
import { sha256, siteId } from "@picket/protocol/names";
import { agoWords, dateWords } from "@picket/tui/words";
import { Argument, type Command, InvalidArgumentError } from "commander";
import { siteOf } from "../access.ts";
import { durationOption, whole } from "../arguments.ts";
import { Failure } from "../failure.ts";
import { plural, printJson, printLine, printTable } from "../output.ts";
import { writeSecret } from "../secret-file.ts";

type Json = { readonly json?: boolean };

export function addMesh(program: Command): void {
  const mesh = program.command("mesh").description("sites that share alerts, verdicts and indicators");
  addInvite(mesh);
  addJoin(mesh);
  addList(mesh);
  addLeave(mesh);
  addChanges(mesh);
  addVerdict(mesh);
  addIocs(mesh);
}

const peerName = (text: string): string => {
  if (siteId.safeParse(text).success) return text;
  throw new InvalidArgumentError("a site's name is 1-63 of a-z, 0-9 and inner hyphens (see `picket mesh list`).");
};
const peerArgument = () => new Argument("<site>", "the peer's name in `picket mesh list`").argParser(peerName);

function addInvite(mesh: Command): void {
  mesh
    .command("invite")
    .description("make an invitation, with which one other site joins this one")
    .addOption(durationOption("--ttl <time>", "how long it can be used, 1m to 30d", 3600_000))
    .option("--host <host>", "where the other site reaches this one: one of its hosts (default: the first)")
    .option("--out <file>", "write it to this file (0600) instead of printing it")
    .option("--json", "one JSON object: { token, expiresMs }, or with --out { file, expiresMs }")
    .addHelpText(
      "after",
      "\nAn invitation is a secret until it is used. At the other site: picket mesh join --token-file FILE\n\nExamples:\n  picket mesh invite --out INVITE\n  picket mesh invite --host 192.0.2.10 --ttl 24h --out INVITE",
    )
    .action(async (options: Json & { ttl: number; host?: string; out?: string }, command: Command) => {
      const { ttl, host, out, json } = options;
      if (ttl < 60_000 || ttl > 30 * 86_400_000) throw new Failure("--ttl takes 1m to 30d", undefined, 2);
      const made = await siteOf(command).call("meshInvite", { body: { ttlS: Math.floor(ttl / 1000), ...(host ? { host } : {}) } });
      if (out === undefined) return json ? printJson(made) : console.log(made.token);
      writeSecret(out, made.token);
      if (json) printJson({ file: out, expiresMs: made.expiresMs });
      else
        console.error(
          `${out}: good for one site until ${dateWords(made.expiresMs)}\nNext, at the other site: picket mesh join --token-file ${out}`,
        );
    });
}

function addJoin(mesh: Command): void {
  mesh
    .command("join")
    .description("join the site that made an invitation; this site's broker dials it from then on")
    .requiredOption("--token-file <file>", "the invitation; /dev/stdin reads it from a pipe")
    .option("--json", "one JSON object: { peer }")
    .addHelpText(
      "after",
      "\nEach site pins the other's CA. Delete the file afterwards: it cannot be used again.\n\nExamples:\n  picket mesh join --token-file INVITE\n  ssh north picket mesh invite | picket mesh join --token-file /dev/stdin",
    )
    .action(async ({ tokenFile, json }: Json & { tokenFile: string }, command: Command) => {
      const token = readInvite(tokenFile);
      const { peer } = await siteOf(command).call("meshJoin", { body: { token } });
      if (json) return printJson({ peer });
      printLine(`Joined ${peer.site} at ${peer.address}. Its CA is pinned: ${peer.ca}`);
      printLine("Next: picket mesh list");
    });
}

function readInvite(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new Failure(`${file} cannot be read: ${(error as Error).message}`, "Name the file that `picket mesh invite --out FILE` wrote.");
  }
  try {
    parseInvite(text);
  } catch (error) {
    throw new Failure(`${file}: ${(error as Error).message}`, "`picket mesh invite` at the other site makes one.");
  }
  return text;
}

function addList(mesh: Command): void {
  mesh
    .command("list")
    .description("show peers, how far each has got, what was refused of them, and sites known through them")
    .option("--json", "one JSON object: { site, log, peers, sites }")
    .addHelpText("after", "\nExamples:\n  picket mesh list\n  picket mesh list --json")
    .action(async ({ json }: Json, command: Command) => {
      const status = await siteOf(command).call("mesh");
      if (json) return printJson(status);
      if (status.peers.length === 0)
        return printLine("No peer. `picket mesh invite` here, or `picket mesh join` with another site's invitation.");
      const now = Date.now();
      printTable(
        ["site", "state", "last seen", "waiting", "sent", "received", "lost", "refused", "taken", "since", "by", "last error"],
        status.peers.map((peer) => peerRow(peer, now)),
      );
      printSites(status);
    });
}

const peerRow = (peer: MeshPeer, nowMs: number): string[] => [
  peer.site,
  peer.state,
  peer.lastSeenMs === undefined ? "never" : agoWords(peer.lastSeenMs, nowMs),
  ...[peer.lag, peer.sent, peer.received, peer.lost].map(String),
  Object.entries(peer.refused)
    .map(([why, count]) => `${why} ${count}`)
    .join(", ") || "-",
  takenWords(peer),
  dateWords(peer.joinedMs),
  peer.by,
  peer.lastError ?? "-",
];

function takenWords({ muted, itemsPerS, limitedBy }: MeshPeer): string {
  if (muted) return "nothing (muted)";
  if (itemsPerS === undefined) return "all";
  return `${itemsPerS}/s (${limitedBy === "picket" ? "limited by Picket" : "limited"})`;
}

function printSites({ sites }: MeshStatus): void {
  if (sites.length === 0) return;
  printLine("");
  printTable(
    ["known through peers", "vouched for by", "since", "CA"],
    sites.map((one) => [one.site, one.via, dateWords(one.introducedMs), one.ca]),
  );
}

function addLeave(mesh: Command): void {
  mesh
    .command("leave")
    .description("part with every peer: connections close at once, their CAs are forgotten")
    .option("--json", "one JSON object: { removed: [site] }")
    .addHelpText(
      "after",
      "\nWhat came from them stays in the list of alerts. To part with one: picket mesh remove SITE\n\nExample:\n  picket mesh leave",
    )
    .action(async ({ json }: Json, command: Command) => {
      const site = siteOf(command);
      const { peers } = await site.call("mesh");
      for (const peer of peers) await site.call("meshRemove", { params: { site: peer.site } });
      const removed = peers.map((peer) => peer.site);
      if (json) printJson({ removed });
      else printLine(removed.length === 0 ? "This site had no peer." : `Left: ${removed.join(", ")}.`);
    });
  mesh
    .command("remove")
    .description("part with one peer: its connection closes at once, its CA is forgotten")
    .addArgument(peerArgument())
    .option("--json", "one JSON object: { removed }")
    .addHelpText("after", "\nA new invitation brings it back.\n\nExample:\n  picket mesh remove south")
    .action(async (name: string, { json }: Json, command: Command) => {
      const answer = await siteOf(command).call("meshRemove", { params: { site: name } });
      if (json) printJson(answer);
      else printLine(`${name} is no peer any more.`);
    });
}

function addChanges(mesh: Command): void {
  const change = (name: string, description: string, body: { muted?: boolean; itemsPerS?: null }, said: string, help: string) =>
    mesh
      .command(name)
      .description(description)
      .addArgument(peerArgument())
      .option("--json", "one JSON object: { peer }")
      .addHelpText("after", help)
      .action(async (site: string, { json }: Json, command: Command) => {
        const answer = await siteOf(command).call("meshChange", { params: { site }, body });
        if (json) printJson(answer);
        else printLine(`${site}: ${said}`);
      });
  change(
    "mute",
    "take nothing from a peer; what it has for this site waits there",
    { muted: true },
    "muted. What it has for this site waits there, as long as it keeps it.",
    "\nExample:\n  picket mesh mute south",
  );
  change(
    "unmute",
    "take from a peer again, also what waited",
    { muted: false },
    "not muted any more.",
    "\nExample:\n  picket mesh unmute south",
  );
  mesh
    .command("limit")
    .description("take at most so many items a second from a peer, after a burst of ten times as many")
    .addArgument(peerArgument())
    .requiredOption("--rate <n>", "items a second, 1 to 10000", whole(1, 10_000))
    .option("--json", "one JSON object: { peer }")
    .addHelpText("after", "\nNothing is lost by it: the rest waits at the peer.\n\nExample:\n  picket mesh limit south --rate 5")
    .action(async (site: string, { rate, json }: Json & { rate: number }, command: Command) => {
      const answer = await siteOf(command).call("meshChange", { params: { site }, body: { itemsPerS: rate } });
      if (json) printJson(answer);
      else printLine(`${site}: at most ${plural(rate, "item")} a second.`);
    });
  change(
    "unlimit",
    "take a limit away, also one that Picket set because of what the peer sent",
    { itemsPerS: null },
    "no limit but the standard one.",
    "\nExample:\n  picket mesh unlimit south",
  );
}

function addVerdict(mesh: Command): void {
  mesh
    .command("verdict")
    .description("show what other sites found in a file")
    .argument("<sha256>", "the file's SHA-256", (text) => {
      if (sha256.safeParse(text).success) return text;
      throw new InvalidArgumentError("a SHA-256 is 64 lower-case hex digits.");
    })
    .option("--json", "one JSON object: { verdicts }")
    .addHelpText("after", "\nExample:\n  picket mesh verdict 275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f")
    .action(async (hash: string, { json }: Json, command: Command) => {
      const { verdicts } = await siteOf(command).call("meshVerdicts", { params: { hash } });
      if (json) return printJson({ verdicts });
      if (verdicts.length === 0) return printLine("No other site has found anything in this file, or none has seen it.");
      printTable(
        ["site", "through", "verdict", "when", "rules"],
        verdicts.map((one) => [one.origin, one.via, one.verdict, dateWords(one.judgedMs), one.rules.join(", ")]),
      );
    });
}

function addIocs(mesh: Command): void {
  mesh
    .command("share-ioc")
    .description("share an indicator with the mesh")
    .addArgument(new Argument("<kind>").choices(iocKinds))
    .argument("<value>", "the address, name, URL or hash")
    .option("--confidence <n>", "0 to 100", whole(0, 100), 70)
    .addOption(durationOption("--expires <time>", "how long it holds", 30 * 86_400_000))
    .option("--source <text>", "who says so", "operator")
    .option("--json", "one JSON object: { ioc }")
    .addHelpText(
      "after",
      "\nExamples:\n  picket mesh share-ioc domain updates.example.net --source 'our incident 17'\n  picket mesh share-ioc ip 203.0.113.9 --confidence 90 --expires 7d",
    )
    .action(
      async (
        kind: (typeof iocKinds)[number],
        value: string,
        options: Json & { confidence: number; expires: number; source: string },
        command: Command,
      ) => {
        const { confidence, expires, source, json } = options;
        const answer = await siteOf(command).call("meshShareIoc", {
          body: { kind, value, confidence, source, expiresMs: Date.now() + expires },
        });
        if (json) printJson(answer);
        else printLine(`Shared: ${kind} ${value}, until ${dateWords(answer.ioc.expiresMs)}.`);
      },
    );
  mesh
    .command("iocs")
    .description("list the indicators other sites share")
    .option("--limit <n>", "at most so many, 1 to 1000", whole(1, 1000), 200)
    .option("--json", "one JSON object: { iocs }")
    .addHelpText("after", "\nExample:\n  picket mesh iocs")
    .action(async ({ limit, json }: Json & { limit: number }, command: Command) => {
      const { iocs } = await siteOf(command).call("meshIocs", { query: { limit } });
      if (json) return printJson({ iocs });
      if (iocs.length === 0) return printLine("No other site shares an indicator that still holds.");
      printTable(
        ["kind", "value", "confidence", "expires", "site", "source"],
        iocs.map((ioc) => [ioc.kind, ioc.value, String(ioc.confidence), dateWords(ioc.expiresMs), ioc.origin, ioc.source]),
      );
    });
}
