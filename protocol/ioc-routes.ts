// The REST calls about indicators: rows of the table in rest.ts.
import * as z from "zod";
import { IocMet, IocRow, IocShown, IocSource, MAX_ROWS, sourceName } from "./ioc.ts";
import { MAX_VALUE } from "./ioc-value.ts";

const none = z.object({});
const count = z.int().nonnegative();
const bySource = z.object({ source: z.string().max(64) });
const byImport = z.object({ import: z.coerce.number().int().positive() });

export const iocRoutes = {
  iocs: {
    method: "GET",
    path: "/v1/iocs",
    summary: "Lists of indicators: how many each has, what devices met of it, when it expires, how far the stored log was searched for it",
    auth: "operator",
    params: none,
    query: none,
    body: undefined,
    response: z.object({ sources: z.array(IocSource), indicators: count, most: count }),
  },
  iocBegin: {
    method: "POST",
    path: "/v1/iocs/imports",
    summary:
      "Begin to import a list. It takes the place of the list of that name when it is finished, all at once; what is left out of a row is this",
    auth: "operator",
    params: none,
    query: none,
    body: z.object({
      source: sourceName,
      format: z.string().max(32).default("rows"),
      confidence: z.int().min(0).max(100).default(50),
      expiresMs: count.optional(),
    }),
    response: z.object({ import: count }),
  },
  iocRows: {
    method: "POST",
    path: "/v1/iocs/imports/:import/rows",
    summary: `Add up to ${MAX_ROWS} indicators to an import. \`at\` is how many rows came before: the same call again changes nothing. Those that cannot be used are told by their place, and stop no others`,
    auth: "operator",
    params: byImport,
    query: none,
    body: z.object({ at: count, rows: z.array(IocRow).min(1).max(MAX_ROWS) }),
    response: z.object({ given: count, refused: z.array(z.object({ at: count, why: z.string() })) }),
  },
  iocFinish: {
    method: "POST",
    path: "/v1/iocs/imports/:import/finish",
    summary: "Put an imported list in force. What is new in it is searched for in the stored log",
    auth: "operator",
    params: byImport,
    query: none,
    body: undefined,
    response: z.object({ source: IocSource }),
  },
  iocAbort: {
    method: "POST",
    path: "/v1/iocs/imports/:import/abort",
    summary: "Give up an import: the list of that name stays as it was",
    auth: "operator",
    params: byImport,
    query: none,
    body: z.object({ why: z.string().min(1).max(300) }),
    response: z.object({ aborted: count }),
  },
  iocRemove: {
    method: "POST",
    path: "/v1/iocs/sources/:source/remove",
    summary: "Remove a list: nothing is matched with it from then on. Alerts it made stay",
    auth: "operator",
    params: bySource,
    query: none,
    body: undefined,
    response: z.object({ removed: z.string() }),
  },
  iocRowsOf: {
    method: "GET",
    path: "/v1/iocs/sources/:source/indicators",
    summary: "The indicators of a list in pages; `after` continues, and is absent at the end",
    auth: "operator",
    params: bySource,
    query: z.object({ after: z.coerce.number().int().nonnegative().default(0) }),
    body: undefined,
    response: z.object({ indicators: z.array(IocShown), after: count.optional() }),
  },
  iocFind: {
    method: "GET",
    path: "/v1/iocs/find",
    summary: "Which lists hold an indicator, in whatever spelling, and which devices met it",
    auth: "operator",
    params: none,
    query: z.object({ value: z.string().min(1).max(MAX_VALUE) }),
    body: undefined,
    response: z.object({ found: z.array(IocShown), met: z.array(IocMet) }),
  },
  iocMet: {
    method: "GET",
    path: "/v1/iocs/met",
    summary: "What devices met of the lists, the latest first",
    auth: "operator",
    params: none,
    query: z.object({
      source: z.string().max(64).optional(),
      sinceMs: z.coerce.number().int().nonnegative().optional(),
      limit: z.coerce.number().int().min(1).max(1000).default(200),
    }),
    body: undefined,
    response: z.object({ met: z.array(IocMet) }),
  },
} as const;
