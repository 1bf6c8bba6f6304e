// The calls of the REST interface that need no operator: health, enrolment and the installer; rest.ts puts them into its table.
import * as z from "zod";
import { EnrolRequest, EnrolResponse, RenewRequest, RenewResponse } from "./enroll.ts";
import { INSTALL_PATH, SignedRelease, Trust } from "./release.ts";

const none = z.object({});

export const openRoutes = {
  health: {
    method: "GET",
    path: "/v1/health",
    summary: "Whether the broker lives",
    auth: "open",
    params: none,
    query: none,
    body: undefined,
    response: z.object({ ok: z.literal(true), version: z.string() }),
  },
  ca: {
    method: "GET",
    path: "/v1/ca",
    summary: "The site CA; a device checks its hash against the token before it trusts it",
    auth: "open",
    params: none,
    query: none,
    body: undefined,
    response: z.object({ ca: z.string() }),
  },
  enroll: {
    method: "POST",
    path: "/v1/enroll",
    summary: "Turn a token and a CSR into a device certificate",
    auth: "open",
    params: none,
    query: none,
    body: EnrolRequest,
    response: EnrolResponse,
  },
  renew: {
    method: "POST",
    path: "/v1/renew",
    summary: "Replace a device certificate",
    auth: "open",
    params: none,
    query: none,
    body: RenewRequest,
    response: RenewResponse,
  },
  trust: {
    method: "GET",
    path: `${INSTALL_PATH}/trust`,
    summary: "The operators' root keys and newest key list: what a release is checked with, from the anchor's hash in a token",
    auth: "open",
    params: none,
    query: none,
    body: undefined,
    response: Trust,
  },
  release: {
    method: "GET",
    path: `${INSTALL_PATH}/release`,
    summary: "Checksums of what devices install, signed by an operator; the files themselves lie beside it under their names",
    auth: "open",
    params: none,
    query: none,
    body: undefined,
    response: SignedRelease,
  },
} as const;
