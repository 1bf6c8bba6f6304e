import { routes, STREAM_PATH } from "@picket/protocol/rest";
import { expect, test } from "vitest";
import { openApi } from "./openapi.ts";
import { startSite } from "./testing/site.ts";

type Operation = {
  operationId: string;
  security?: unknown[];
  parameters?: { name: string; in: string; required: boolean }[];
  responses: object;
};
type Document = { openapi: string; paths: Record<string, Record<string, Operation>>; components: { schemas: object } };
const document = openApi("1.2.3") as unknown as Document;

test.each(Object.entries(routes))("%s is described, with its parameters and who may call it", (name, route) => {
  const path = route.path.replaceAll(/:([a-z]+)/g, "{$1}");
  const operation = document.paths[path]?.[route.method.toLowerCase()];
  expect(operation?.operationId).toBe(name);
  expect(operation?.security).toEqual(route.auth === "open" ? [] : undefined);
  const inPath = [...path.matchAll(/\{([a-z]+)\}/g)].map(([, parameter]) => parameter);
  const parameters = operation?.parameters ?? [];
  expect(parameters.filter((parameter) => parameter.in === "path").map((parameter) => parameter.name)).toEqual(inPath);
  expect(parameters.filter((parameter) => parameter.in === "query").map((parameter) => parameter.name)).toEqual(
    Object.keys(route.query.shape),
  );
  expect(operation && "requestBody" in operation).toBe(route.body !== undefined);
});

test("the stream is described", () => {
  expect(document.paths[STREAM_PATH]?.get?.responses).toHaveProperty("200.content.text/event-stream.schema");
});

test("every schema says what it holds: none takes anything", () => {
  const vague: string[] = [];
  const visit = (schema: unknown, at: string): void => {
    if (typeof schema !== "object" || schema === null) return;
    const node = schema as Record<string, unknown>;
    const says = ["type", "anyOf", "oneOf", "allOf", "const", "enum", "$ref"].some((key) => key in node);
    if (!says) vague.push(at);
    for (const [key, value] of Object.entries((node.properties ?? {}) as object)) visit(value, `${at}.${key}`);
    for (const list of ["anyOf", "oneOf", "allOf", "prefixItems"])
      for (const [index, value] of ((node[list] ?? []) as unknown[]).entries()) visit(value, `${at}/${list}/${index}`);
    if ("items" in node && typeof node.items === "object") visit(node.items, `${at}[]`);
    if ("additionalProperties" in node && typeof node.additionalProperties === "object") visit(node.additionalProperties, `${at}.*`);
  };
  let seen = 0;
  const find = (node: unknown, at: string): void => {
    if (typeof node !== "object" || node === null) return;
    for (const [key, value] of Object.entries(node)) {
      if (key === "schema") {
        seen++;
        visit(value, at);
      } else find(value, `${at}/${key}`);
    }
  };
  find(document, "");
  expect(seen).toBeGreaterThan(Object.keys(routes).length);
  expect(vague).toEqual([]);
});

test("references inside the document lead somewhere", () => {
  const text = JSON.stringify(document);
  for (const [, ref = ""] of text.matchAll(/"\$ref":"#\/([^"]+)"/g)) {
    const target = ref.split("/").reduce<unknown>((node, key) => (node as Record<string, unknown> | undefined)?.[key], document);
    expect(target, ref).toBeDefined();
  }
});

test("is served to operators", async () => {
  await using site = await startSite();
  expect(await (await site.call("GET", "/openapi.json")).json()).toEqual(JSON.parse(JSON.stringify(document)));
});
