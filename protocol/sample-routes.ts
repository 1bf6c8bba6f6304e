// The REST call about what the site's rules say of a file or of a process' memory: a row of the table in rest.ts.
import * as z from "zod";
import { SampleMatch } from "./feed.ts";
import { sha256 } from "./names.ts";

/** `unknown`: no device reported it, or not yet. `wanted`: a device is to send it. `arrived`: here, not scanned. `gone`, `too-big`: nobody can or may send it. */
const sampleStates = ["unknown", "wanted", "arrived", "scanned", "gone", "too-big"] as const;

export const SampleShown = z.object({
  sha256,
  state: z.enum(sampleStates),
  /** False: nothing at this site scans files now, so none is asked for. */
  scanning: z.boolean(),
  /** Of the last scan; empty before. */
  matches: z.array(SampleMatch),
  /** Set: it could not be judged. */
  error: z.string().optional(),
});
export type SampleShown = z.infer<typeof SampleShown>;

export const sampleRoutes = {
  sample: {
    method: "GET",
    path: "/v1/samples/:hash",
    summary: "What this site's rules say of a file, or of the memory of a process, by its SHA-256; its bytes are never given out",
    auth: "operator",
    params: z.object({ hash: sha256 }),
    query: z.object({}),
    body: undefined,
    response: z.object({ sample: SampleShown }),
  },
} as const;
