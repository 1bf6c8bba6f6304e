// BPF Type Format, as far as a compiler needs to tell us where a field lies (Documentation/bpf/btf.rst in the Linux source).
import { cString } from "./elf.ts";

export type Field = { readonly name: string; readonly offset: number; readonly size: number; readonly array: boolean };
export type Struct = { readonly size: number; readonly fields: readonly Field[] };
export type Types = { readonly structs: ReadonlyMap<string, Struct>; readonly enums: ReadonlyMap<string, ReadonlyMap<string, number>> };

const [INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
const [RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64] = [11, 12, 13, 14, 15, 16, 17, 18, 19];

type Type = {
  readonly kind: number;
  readonly name: string;
  readonly at: number;
  readonly length: number;
  /** Size in bytes, or the type it refers to. */
  readonly sizeOrType: number;
};

/** Structs (nested ones flattened, field names dotless) and enums of a `.BTF` section. Throws on a type it does not know, rather than guess its length. */
export function parseBtf(btf: Uint8Array): Types {
  const view = new DataView(btf.buffer, btf.byteOffset, btf.byteLength);
  if (view.getUint16(0, true) !== 0xeb9f) throw new Error("not BTF");
  const header = view.getUint32(4, true);
  const strings = btf.subarray(header + view.getUint32(16, true));
  const types = readTypes(view, header + view.getUint32(8, true), view.getUint32(12, true), strings);

  const structs = new Map<string, Struct>();
  const enums = new Map<string, ReadonlyMap<string, number>>();
  for (const type of types) {
    if (!type?.name) continue;
    if (type.kind === STRUCT) structs.set(type.name, { size: type.sizeOrType, fields: fieldsOf(type, types, view, strings, 0) });
    if (type.kind === ENUM) enums.set(type.name, membersOf(type, view, strings));
  }
  return { structs, enums };
}

function readTypes(view: DataView, start: number, length: number, strings: Uint8Array): (Type | undefined)[] {
  const types: (Type | undefined)[] = [undefined]; // Id 0 is void.
  for (let at = start; at < start + length; ) {
    const info = view.getUint32(at + 4, true);
    const kind = (info >>> 24) & 31;
    const members = info & 0xffff;
    types.push({
      kind,
      name: cString(strings, view.getUint32(at, true)),
      at: at + 12,
      length: members,
      sizeOrType: view.getUint32(at + 8, true),
    });
    at += 12 + extraBytes(kind, members);
  }
  return types;
}

function extraBytes(kind: number, members: number): number {
  switch (kind) {
    case PTR:
    case FWD:
    case TYPEDEF:
    case VOLATILE:
    case CONST:
    case RESTRICT:
    case FUNC:
    case FLOAT:
    case TYPE_TAG:
      return 0;
    case INT:
    case VAR:
    case DECL_TAG:
      return 4;
    case ARRAY:
      return 12;
    case STRUCT:
    case UNION:
    case DATASEC:
    case ENUM64:
      return members * 12;
    case ENUM:
    case FUNC_PROTO:
      return members * 8;
    default:
      throw new Error(`BTF kind ${kind} is not known: teach gen/btf.ts its length`);
  }
}

function fieldsOf(type: Type, types: readonly (Type | undefined)[], view: DataView, strings: Uint8Array, base: number): Field[] {
  const fields: Field[] = [];
  for (let index = 0; index < type.length; index++) {
    const at = type.at + index * 12;
    const name = cString(strings, view.getUint32(at, true));
    const offset = base + view.getUint32(at + 8, true) / 8;
    const inner = resolve(types, view.getUint32(at + 4, true));
    if (inner.kind === STRUCT) fields.push(...fieldsOf(inner, types, view, strings, offset));
    else if (inner.kind !== UNION) fields.push({ name, offset, size: sizeOf(types, inner, view), array: inner.kind === ARRAY });
  }
  return fields;
}

function membersOf(type: Type, view: DataView, strings: Uint8Array): ReadonlyMap<string, number> {
  const members = new Map<string, number>();
  for (let index = 0; index < type.length; index++) {
    const at = type.at + index * 8;
    members.set(cString(strings, view.getUint32(at, true)), view.getInt32(at + 4, true));
  }
  return members;
}

/** The type behind typedefs and qualifiers. */
function resolve(types: readonly (Type | undefined)[], id: number): Type {
  const type = types[id];
  if (!type) throw new Error(`BTF type ${id} has no size`);
  const alias = [TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG].includes(type.kind);
  return alias ? resolve(types, type.sizeOrType) : type;
}

function sizeOf(types: readonly (Type | undefined)[], type: Type, view: DataView): number {
  if (type.kind === PTR) return 8;
  if (type.kind !== ARRAY) return type.sizeOrType;
  return view.getUint32(type.at + 8, true) * sizeOf(types, resolve(types, view.getUint32(type.at, true)), view);
}
