// The OpenAPI 3.1 document, from the same table the routes are registered from. Its schemas are JSON Schema 2020-12, as OpenAPI 3.1 has it.
import { LOG_PATH, LogQuery } from "@picket/protocol/log-stream";
import { Problem, routes, STREAM_PATH, StreamItem } from "@picket/protocol/rest";
import * as z from "zod";
import { strict } from "./strict.ts";

type Json = Record<string, unknown>;

/** The document for `GET /openapi.json`. */
export function openApi(version: string): Json {
  const paths: Record<string, Json> = {};
  for (const [name, route] of Object.entries(routes)) {
    const path = route.path.replaceAll(/:([a-z]+)/g, "{$1}");
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(name, route) };
  }
  paths[STREAM_PATH] = { get: streamOperation() };
  paths[LOG_PATH] = { get: logOperation() };
  return {
    openapi: "3.1.1",
    info: { title: "Picket site API", version, license: { name: "Apache-2.0", identifier: "Apache-2.0" } },
    security: [{ operator: [] }],
    paths,
    components: {
      securitySchemes: { operator: { type: "http", scheme: "bearer", description: "An operator credential" } },
      schemas: { Problem: schemaOf(Problem, "output") },
      responses: {
        Problem: { description: "RFC 9457", content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } } },
      },
    },
  };
}

function operation(name: string, route: (typeof routes)[keyof typeof routes]): Json {
  const parameters = [...parametersOf("path", route.params), ...parametersOf("query", route.query)];
  return {
    operationId: name,
    summary: route.summary,
    ...(route.auth === "open" ? { security: [] } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(route.body
      ? { requestBody: { required: true, content: { "application/json": { schema: schemaOf(strict(route.body), "input") } } } }
      : {}),
    responses: responses("application/json", schemaOf(route.response, "output")),
  };
}

function streamOperation(): Json {
  return {
    operationId: "stream",
    summary:
      "What changes, as it changes. A `site` item comes first and every 5 s; the `event` field is `kind`, `data` is the item below as JSON",
    responses: responses("text/event-stream", schemaOf(StreamItem, "output")),
  };
}

function logOperation(): Json {
  return {
    operationId: "log",
    summary:
      "Stored batches as they lie, oldest first. Frames of a length (4 bytes, big endian), a line of JSON with `kind` (range, batch, end), and the bytes of the batch",
    parameters: parametersOf("query", LogQuery),
    responses: responses("application/octet-stream", { type: "string", contentMediaType: "application/octet-stream" }),
  };
}

const responses = (type: string, schema: Json): Json => ({
  "200": { description: "Done", content: { [type]: { schema } } },
  default: { $ref: "#/components/responses/Problem" },
});

function parametersOf(where: "path" | "query", shape: z.ZodObject): Json[] {
  // Coerced numbers take any text on input, so what they become says more.
  const { properties = {} } = schemaOf(shape, "output") as { properties?: Record<string, Json> };
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: where,
    required: where === "path" || !shape.shape[name]!.safeParse(undefined).success,
    schema,
  }));
}

function schemaOf(type: z.ZodType, io: "input" | "output"): Json {
  const { $schema: _, ...schema } = z.toJSONSchema(type, { io, unrepresentable: "throw", target: "draft-2020-12" }) as Json;
  return schema;
}
