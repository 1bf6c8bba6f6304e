// A condition written for the records of an audit log, as a condition on one of our events: true when it holds for one of the records.
import type { EventType } from "@picket/protocol/event";
import type { Condition, Detection, FieldTest } from "../rule.ts";
import { type AuditRecord, auditEvents, auditRecordsOf, type RecordField, recordFieldName } from "./auditd.ts";
import { passesMissing, simplified } from "./reach.ts";
import { anyText, isText, wantsCase } from "./tests.ts";

/** What a detection asks of one type of event. */
export function conditionOn(type: EventType, { condition, records }: Detection): Condition {
  if (records === undefined) return condition;
  return simplified({ op: "or", of: auditRecordsOf(type).map((record) => onRecord(condition, record)) });
}

export type RecordReach = { readonly events: readonly EventType[]; readonly always: boolean; readonly missing: readonly Lack[] };

/** `what`: in words, such as "field unit" or "SYSCALL sysinfo". */
export type Lack = { readonly field: string; readonly what: string };

/** The events whose records can fulfil the condition, and what it asks for that no record has. */
export function reachRecords(condition: Condition): RecordReach {
  const on = (type: EventType) => conditionOn(type, { events: [type], condition, records: "auditd" });
  const events = auditEvents.map((type) => ({ type, condition: on(type) }));
  const every = auditEvents.flatMap(auditRecordsOf);
  const missing = new Map<string, Lack>();
  const lack = (field: string, what: string) => missing.set(what, { field, what });
  for (const part of fieldsIn(condition)) {
    const has = every.filter(({ fields }) => fields.has(part.field));
    if (has.length === 0) lack(part.field, `field ${part.field}`);
    else if (has.every((record) => isNever(onRecord(part, record)))) lack(part.field, `${part.field} ${valuesOf(part.tests)}`);
  }
  return {
    events: events.filter((one) => !isNever(one.condition)).map(({ type }) => type),
    always: events.every(({ condition: one }) => one.op === "constant" && one.value),
    missing: [...missing.values()],
  };
}

const isNever = (condition: Condition) => condition.op === "constant" && !condition.value;

function fieldsIn(condition: Condition): Extract<Condition, { op: "field" }>[] {
  if (condition.op === "and" || condition.op === "or") return condition.of.flatMap(fieldsIn);
  if (condition.op === "not") return fieldsIn(condition.of);
  return condition.op === "field" ? [condition] : [];
}

const valuesOf = (tests: readonly FieldTest[]): string =>
  tests
    .map((test) => ("text" in test ? test.text : "source" in test ? test.source : test.kind))
    .join(", ")
    .slice(0, 100);

function onRecord(condition: Condition, record: AuditRecord): Condition {
  switch (condition.op) {
    case "constant":
      return condition;
    case "not":
      return simplified({ op: "not", of: onRecord(condition.of, record) });
    case "and":
    case "or":
      return simplified({ op: condition.op, of: condition.of.map((part) => onRecord(part, record)) });
    case "keyword":
      return onText(condition.test, record);
    case "field":
      return onField(condition, record);
  }
}

function onText(test: FieldTest, record: AuditRecord): Condition {
  const fixed = [...record.fields.values()].flatMap((field) => (field.kind === "fixed" ? field.values : []));
  if (passesAny(test, fixed)) return { op: "constant", value: true };
  return simplified({ op: "or", of: record.text.map((field) => ({ op: "field", field, tests: [test] })) });
}

function onField({ field, tests }: Extract<Condition, { op: "field" }>, record: AuditRecord): Condition {
  const of = record.fields.get(field);
  if (!of) return { op: "constant", value: tests.some(passesMissing) };
  const usable = tests.flatMap((test) => renamed(test, record));
  if (of.kind === "fixed" && usable.every((test) => test.kind !== "fieldref")) {
    const value = usable.some((test) => (isText(test) ? passesAny(test, of.values) : test.kind === "exists" && test.wanted));
    return { op: "constant", value };
  }
  if (of.kind === "segment") return onSegment(usable, of.as, recordFieldName(record, field));
  const possible = usable.filter((test) => canPass(test, of));
  if (possible.length === 0) return { op: "constant", value: false };
  const own: Condition = { op: "field", field: nameOf(record, field, of), tests: possible };
  const link =
    of.kind === "same" && of.link !== undefined
      ? onField({ op: "field", field: of.link, tests: possible.filter(isText) }, record)
      : undefined;
  return link ? simplified({ op: "or", of: [own, link] }) : own;
}

/** The kernel's short names end here. */
const MAX_SEGMENT = 15;

/** That the last segment is a text is the same as that the whole ends with it, which other rules ask of the same field. */
function onSegment(tests: readonly FieldTest[], whole: string, own: string): Condition {
  const simple = (test: FieldTest) => test.kind === "equals" && !test.cased && test.text.length < MAX_SEGMENT && !test.text.includes("/");
  const ends = tests
    .filter(simple)
    .flatMap((test) => (test.kind === "equals" ? [test, { ...test, kind: "endswith" as const, text: `/${test.text}` }] : []));
  const others = tests.filter((test) => !simple(test));
  const parts: Condition[] = [];
  if (ends.length > 0) parts.push({ op: "field", field: whole, tests: ends });
  if (others.length > 0) parts.push({ op: "field", field: own, tests: others });
  return simplified({ op: "or", of: parts });
}

const nameOf = (record: AuditRecord, field: string, of: RecordField) => (of.kind === "same" ? of.as : recordFieldName(record, field));

/** The other field of a comparison, under the name the compiled rule knows; nothing where the record lacks it. */
function renamed(test: FieldTest, record: AuditRecord): FieldTest[] {
  if (test.kind !== "fieldref") return [test];
  const other = record.fields.get(test.field);
  return other ? [{ ...test, field: nameOf(record, test.field, other) }] : [];
}

const canPass = (test: FieldTest, of: RecordField) =>
  of.kind !== "read" || of.oneOf === undefined || !isText(test) || passesAny(test, of.oneOf);

function passesAny(test: FieldTest, values: readonly string[]): boolean {
  if (!isText(test)) return false;
  const passes = anyText([test]);
  return values.some((value) => passes(wantsCase(test) ? value : value.toLowerCase()));
}
