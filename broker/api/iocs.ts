// Calls about lists of indicators.
import type { iocRoutes } from "@picket/protocol/ioc-routes";
import type * as z from "zod";
import type { IocsPort } from "../iocs.ts";
import { Refused } from "../refused.ts";

type Routes = typeof iocRoutes;
type Input<N extends keyof Routes> = {
  readonly params: z.output<Routes[N]["params"]>;
  readonly query: z.output<Routes[N]["query"]>;
  readonly body: Routes[N]["body"] extends z.ZodType ? z.output<Routes[N]["body"]> : undefined;
  readonly operator: string;
};
type IocHandlers = { readonly [N in keyof Routes]: (input: Input<N>) => Promise<z.output<Routes[N]["response"]>> };

const noList = (source: string) => new Refused("not-found", `There is no list "${source}"`, "`picket ioc list` shows those there are");

export function iocHandlers(iocs: IocsPort): IocHandlers {
  return {
    iocs: async () => iocs.list(),
    iocBegin: ({ body, operator }) => iocs.begin({ ...body, by: operator }),
    iocRows: ({ params, body }) => iocs.rows(params.import, body.at, body.rows),
    iocFinish: async ({ params }) => ({ source: await iocs.finish(params.import) }),
    iocAbort: async ({ params, body }) => {
      await iocs.abort(params.import, body.why);
      return { aborted: params.import };
    },
    iocRemove: async ({ params: { source } }) => {
      if (!iocs.remove(source)) throw noList(source);
      return { removed: source };
    },
    iocRowsOf: async ({ params: { source }, query }) => {
      const page = iocs.rowsOf(source, query.after);
      if (!page) throw noList(source);
      return page;
    },
    iocFind: ({ query }) => iocs.find(query.value),
    iocMet: async ({ query }) => ({ met: iocs.met(query) }),
  };
}
