// Wires the detector. It keeps no state of record: kill it at any time.
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { siteId } from "@picket/protocol/names";
import { compileRules, type Rule } from "@picket/rules/engine";
import * as z from "zod";
import { type DetectorConfig, refuseUnverifiedTls } from "./config.ts";
import { iocEngine } from "./engines/ioc/engine.ts";
import { judgeAll } from "./engines/together.ts";
import { openTextRules, type TextRules, textEngine } from "./engines/yara/texts.ts";
import { type FeedStatus, followFeed } from "./feed/feed.ts";
import { yaraScanner } from "./file-scanner.ts";
import type { FileScanner } from "./files.ts";
import type { Engine, EventBatch } from "./finding.ts";
import { Iocs } from "./iocs.ts";
import type { Log } from "./log.ts";
import { modelEngines } from "./models.ts";
import { createPipeline } from "./pipeline.ts";
import { openRulebook, type Rulebook, type RuleSet } from "./rulebook.ts";
import { openStatusPage } from "./status-page.ts";
import { carriedRules, toldRules } from "./told-rules.ts";

export type DetectorOptions = {
  readonly site: string;
  readonly host: string;
  readonly port: number;
  /** PEM: the site's CA, the detector's certificate and its key. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly rules: readonly Rule[];
  /** Where they come from, which is looked at for changes; without it they stay as they are. */
  readonly book?: Rulebook | undefined;
  /** The engines besides Sigma, made anew for each session. */
  readonly createEngines?: () => readonly Engine[];
  /** Makes what judges files that devices reported; without it none are collected. It takes seconds, and nothing waits for it. */
  readonly createScanner?: (() => Promise<FileScanner & AsyncDisposable>) | undefined;
  /** Makes what judges command lines by YARA rules meant for them. */
  readonly createTextRules?: (() => Promise<TextRules | undefined>) | undefined;
  readonly warmUpExecs?: number | undefined;
  /** Of 127.0.0.1, for `/healthz` and `/metrics`; 0 or undefined: none. */
  readonly statusPort?: number | undefined;
  readonly log: Log;
  /** Jitter of reconnects, in [0, 1). */
  readonly random?: () => number;
};

export type Detector = AsyncDisposable & {
  /** Resolves when the broker has accepted the first session. */
  readonly ready: Promise<void>;
  status(): FeedStatus;
};

/**
 * Follows the site's log until disposed. Resolves at once: a broker that is not there yet is waited for.
 * Throws when TLS verification is switched off or the certificate cannot be used.
 */
export async function startDetector(options: DetectorOptions): Promise<Detector> {
  refuseUnverifiedTls();
  const { warmUpExecs, site } = options;
  let set: RuleSet = options.book?.current ?? { ...noFiles, rules: options.rules };
  let matcher = compileRules(set.rules);
  const carried = carriedRules();
  const stop = new AbortController();
  let scanner = openScanner(options);
  let texts = openTexts(options);
  const iocs = new Iocs({ site, log: options.log });
  const feed = followFeed({
    ...options,
    scanner: () => scanner,
    told: () => toldRules(set),
    carried: carried.learn,
    name: nameOf(options.cert),
    iocs,
    createPipeline: () =>
      createPipeline({ site, rules: set.rules, correlations: set.correlations, matcher, warmUpExecs, named: carried.named }),
    createJudge: () => {
      const engines = [...(options.createEngines?.() ?? []), iocEngine(iocs.index), textEngine(() => texts)];
      const problem = (engine: string, error: unknown) =>
        options.log("error", "an engine failed; the batch is judged without it", { engine, error: String(error) });
      return (batch: EventBatch) => judgeAll(engines, batch, problem);
    },
    random: options.random ?? Math.random,
    signal: stop.signal,
  });
  // A new session, and so the same as a restart: what is not stored is judged again, and windows are filled by what the new rules say of the log.
  const watching = options.book?.watch((next, before) => {
    set = next;
    matcher = compileRules(next.rules);
    if (next.yaraSignature !== before.yaraSignature) {
      const former = scanner;
      scanner = openScanner(options);
      void Promise.all([former, scanner]).then(([old]) => old?.[Symbol.asyncDispose]());
      const formerTexts = texts;
      texts = openTexts(options);
      void Promise.all([formerTexts, texts]).then(([old]) => old?.[Symbol.asyncDispose]());
    }
    feed.again("the rules have changed");
  });
  const page = await openStatusPage(options.statusPort ?? 0, { feed: feed.status, rules: () => set.rules.length, log: options.log });
  options.log("info", "detector started", { site, rules: set.rules.length, version: set.version });
  return {
    ready: feed.ready,
    status: () => feed.status(),
    [Symbol.asyncDispose]: async () => {
      watching?.[Symbol.dispose]();
      await page?.[Symbol.asyncDispose]();
      stop.abort();
      await feed.ended;
      await (await scanner)?.[Symbol.asyncDispose]();
      await (await texts)?.[Symbol.asyncDispose]();
    },
  };
}

/** Of a detector whose rules come from no file. */
const noFiles: Omit<RuleSet, "rules"> = { version: "", readMs: 0, correlations: [], yara: [], yaraSignature: "", troubles: [] };

/** Undefined when there is none or it cannot be made, which is logged: events are judged without it. */
async function openScanner({ createScanner, log }: DetectorOptions): Promise<(FileScanner & AsyncDisposable) | undefined> {
  try {
    return await createScanner?.();
  } catch (error) {
    log("error", "files cannot be scanned", { error: error instanceof Error ? error.message : String(error) });
    return undefined;
  }
}

/** The same for command lines. */
async function openTexts({ createTextRules, log }: DetectorOptions): Promise<TextRules | undefined> {
  try {
    return await createTextRules?.();
  } catch (error) {
    log("error", "command lines cannot be scanned", { error: error instanceof Error ? error.message : String(error) });
    return undefined;
  }
}

const SiteFile = z.object({ site: siteId, hosts: z.array(z.string().min(1)).min(1) });

/** What `startDetector` needs, from a site's directory and rule files. A rule that cannot be used is logged and left out. Throws when a file of the site cannot be read. */
export async function detectorOptions(config: DetectorConfig, log: Log): Promise<DetectorOptions> {
  const read = async (name: string) => {
    const path = join(config.dir, name);
    try {
      return await readFile(path, "utf8");
    } catch (error) {
      throw new Error(
        `${path}: cannot be read (${error instanceof Error ? error.message : error}): make the site with \`picket site init\`, or set detector.dir`,
      );
    }
  };
  const { site, hosts } = SiteFile.parse(JSON.parse(await read("site.json")));
  const book = await openRulebook(config, log);
  return {
    site,
    host: config.host ?? hosts[0]!,
    port: config.port,
    ca: await read("ca.crt.pem"),
    cert: await read("detector.crt.pem"),
    key: await read("detector.key.pem"),
    rules: book.current.rules,
    book,
    createEngines: await modelEngines(config.models, log, config.dir),
    warmUpExecs: config.warmUpExecs,
    statusPort: config.status.port,
    createScanner: config.scan ? () => yaraScanner({ ...config, yara: [...config.yara, ...book.current.yara] }, log) : undefined,
    createTextRules: config.scan
      ? () => openTextRules({ packs: [...config.yara, ...book.current.yara], builtin: config.builtin, log })
      : undefined,
    log,
  };
}

/** The CN of a certificate; the broker lets it use no other client id. */
function nameOf(pem: string): string {
  const { subject } = new X509Certificate(pem);
  const name = /^CN=(.+)$/m.exec(subject)?.[1];
  if (name === undefined) throw new Error(`the detector's certificate has no CN (${subject.replaceAll("\n", ", ")}): issue it again`);
  return name;
}
