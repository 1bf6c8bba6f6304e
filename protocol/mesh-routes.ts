// The calls of the REST interface that are about the mesh; rest.ts puts them into its table.
import * as z from "zod";
import { Ioc, MeshJoinRequest, MeshJoinResponse, MeshPeer, MeshStatus, SharedVerdict } from "./mesh.ts";
import { sha256, siteId } from "./names.ts";

/** How long a one-time secret may be used, seconds. */
export const secretTtlS = z
  .int()
  .min(60)
  .max(30 * 86400)
  .default(3600);
const ms = z.int().nonnegative();
const limit = z.coerce.number().int().min(1).max(1000).default(200);
const none = z.object({});
const bySite = z.object({ site: siteId });

export const meshRoutes = {
  mesh: {
    method: "GET",
    path: "/v1/mesh",
    summary: "The mesh: peers, how far each has got, what was refused of them, and sites known through them",
    auth: "operator",
    params: none,
    query: none,
    body: undefined,
    response: MeshStatus,
  },
  meshInvite: {
    method: "POST",
    path: "/v1/mesh/invites",
    summary: "Make an invitation for one site",
    auth: "operator",
    params: none,
    query: none,
    body: z.object({
      ttlS: secretTtlS,
      /** One of the site's hosts; the first when left out. */
      host: z.string().max(253).optional(),
    }),
    response: z.object({ token: z.string(), expiresMs: ms }),
  },
  meshJoin: {
    method: "POST",
    path: "/v1/mesh/join",
    summary: "Join the site that made an invitation",
    auth: "operator",
    params: none,
    query: none,
    body: z.object({ token: z.string().max(4096) }),
    response: z.object({ peer: MeshPeer }),
  },
  meshPeer: {
    method: "POST",
    path: "/v1/mesh/peers",
    summary: "Called by the broker of a joining site: turns an invitation into mutual trust",
    auth: "open",
    params: none,
    query: none,
    body: MeshJoinRequest,
    response: MeshJoinResponse,
  },
  meshChange: {
    method: "PATCH",
    path: "/v1/mesh/peers/:site",
    summary: "Mute or limit a peer. `itemsPerS` null takes a limit away, also one that Picket set",
    auth: "operator",
    params: bySite,
    query: none,
    body: z.object({ muted: z.boolean().optional(), itemsPerS: z.number().min(0.01).max(10_000).nullable().optional() }),
    response: z.object({ peer: MeshPeer }),
  },
  meshRemove: {
    method: "POST",
    path: "/v1/mesh/peers/:site/remove",
    summary: "Close the connection to a peer and forget its CA",
    auth: "operator",
    params: bySite,
    query: none,
    body: undefined,
    response: z.object({ removed: siteId }),
  },
  meshIocs: {
    method: "GET",
    path: "/v1/mesh/iocs",
    summary: "Indicators other sites share, that have not expired",
    auth: "operator",
    params: none,
    query: z.object({ limit }),
    body: undefined,
    response: z.object({ iocs: z.array(Ioc.extend({ origin: siteId, via: siteId })) }),
  },
  meshShareIoc: {
    method: "POST",
    path: "/v1/mesh/iocs",
    summary: "Share an indicator with the mesh",
    auth: "operator",
    params: none,
    query: none,
    body: Ioc.omit({ sharedMs: true }),
    response: z.object({ ioc: Ioc }),
  },
  meshVerdicts: {
    method: "GET",
    path: "/v1/mesh/verdicts/:hash",
    summary: "What other sites say of a file, by its SHA-256",
    auth: "operator",
    params: z.object({ hash: sha256 }),
    query: none,
    body: undefined,
    response: z.object({ verdicts: z.array(SharedVerdict.extend({ origin: siteId, via: siteId })) }),
  },
} as const;
