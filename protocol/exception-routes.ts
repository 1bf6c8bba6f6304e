// The REST calls about exceptions: rows of the table in rest.ts.
import * as z from "zod";
import { Exception, ExceptionRequest } from "./exception.ts";

const none = z.object({});
const byId = z.object({ id: z.coerce.number().int().positive() });

export const exceptionRoutes = {
  exceptions: {
    method: "GET",
    path: "/v1/exceptions",
    summary: "Exceptions that hold or ended lately, the newest first; `all` also those that ended earlier",
    auth: "operator",
    params: none,
    query: z.object({ all: z.enum(["true", "false"]).optional() }),
    body: undefined,
    response: z.object({ exceptions: z.array(Exception) }),
  },
  exception: {
    method: "GET",
    path: "/v1/exceptions/:id",
    summary: "One exception, and how often it was used",
    auth: "operator",
    params: byId,
    query: none,
    body: undefined,
    response: z.object({ exception: Exception }),
  },
  addException: {
    method: "POST",
    path: "/v1/exceptions",
    summary:
      "Except what a rule finds, for a while: it holds for what the site receives from now on, and raises an alert that says so. With `alert`, that alert is closed as a false positive",
    auth: "operator",
    params: none,
    query: none,
    body: ExceptionRequest,
    response: z.object({ exception: Exception }),
  },
  removeException: {
    method: "POST",
    path: "/v1/exceptions/:id/remove",
    summary: "End an exception now. It stays in the list of all",
    auth: "operator",
    params: byId,
    query: none,
    body: undefined,
    response: z.object({ exception: Exception }),
  },
} as const;
