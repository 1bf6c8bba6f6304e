// MISP JSON: events with attributes, alone and in objects (the MISP core format).
import { NoList, type Read, rowOf, typed } from "./row.ts";

type Json = Readonly<Record<string, unknown>>;
const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);
const list = (value: unknown): Json[] => (Array.isArray(value) ? value.filter(isObject) : []);
const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);

/** Attributes of an event, of several, or of an answer of MISP's search. Throws `NoList` when there is no such thing. */
export function* readMisp(json: unknown): Generator<Read> {
  let events = 0;
  for (const event of eventsOf(json)) {
    const name = text(event.uuid) ?? `event ${++events}`;
    const said = { label: text(event.info), tags: tagsOf(event) };
    yield* attributes(event.Attribute, name, said);
    for (const object of list(event.Object)) yield* attributes(object.Attribute, name, said);
  }
}

function eventsOf(json: unknown): Json[] {
  const outer = isObject(json) && "response" in json ? json.response : json;
  const events = (Array.isArray(outer) ? list(outer) : isObject(outer) ? [outer] : []).map((one) =>
    isObject(one.Event) ? one.Event : one,
  );
  const found = events.filter((one) => Array.isArray(one.Attribute) || Array.isArray(one.Object));
  if (found.length === 0) throw new NoList("it is JSON, but neither a STIX bundle nor MISP events");
  return found;
}

const tagsOf = (of: Json): string[] => list(of.Tag).flatMap((tag) => text(tag.name) ?? []);

type Said = { readonly label: string | undefined; readonly tags: readonly string[] };

function* attributes(given: unknown, event: string, said: Said): Generator<Read> {
  for (const attribute of list(given)) {
    const at = `attribute ${text(attribute.uuid) ?? text(attribute.id) ?? JSON.stringify(attribute.value)?.slice(0, 80)} of ${event}`;
    const type = text(attribute.type);
    const value = text(attribute.value);
    if (attribute.deleted === true) continue;
    if (type === undefined || value === undefined) yield { at, why: "it has no type or no value" };
    else if (attribute.to_ids === false) yield { at, why: "it is not meant for detection (to_ids is off)" };
    else
      for (const one of typed(type, value)) {
        const label = [said.label, text(attribute.comment)].filter((part) => part !== undefined).join(": ");
        yield { at, ...rowOf(one, { label, tags: [...tagsOf(attribute), ...said.tags] }) };
      }
  }
}
