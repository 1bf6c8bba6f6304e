import { siteId } from "@picket/protocol/names";
import * as z from "zod";

/** How an operator reaches a site: the content of site.json in the operator's home. */
export const SiteAccess = z.object({
  /** Of the API, such as https://site.example:8443 */
  url: z.url({ protocol: /^https$/ }),
  /** PEM of the site's CA; no other is trusted. */
  ca: z.string().max(64 * 1024),
  token: z.string().min(1).max(512),
  site: siteId,
});
export type SiteAccess = z.infer<typeof SiteAccess>;
