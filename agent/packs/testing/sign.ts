// Packs for tests, signed by anybody and saying anything.
import { PACK_TYP } from "@picket/protocol/pack";
import { type Pair, sign } from "../../response/testing/operator.ts";

/** Settings for the whole site "lab", unless told otherwise. */
export const pack = (by: Pair, of: Record<string, unknown> = {}, header: Record<string, unknown> = {}): Promise<string> =>
  sign(
    {
      site: "lab",
      dev: "*",
      kind: "settings",
      version: 1,
      iat: Math.floor(Date.now() / 1000),
      kid: by.kid,
      payload: { metricsS: 30 },
      ...of,
    },
    by,
    { typ: PACK_TYP, ...header },
  );
