// What a fanotify group says (fanotify(7)), as bytes.

/** Bits of an event's mask and of a mark's. */
export const fan = {
  attrib: 0x4,
  closeWrite: 0x8,
  open: 0x20,
  movedFrom: 0x40,
  movedTo: 0x80,
  create: 0x100,
  delete: 0x200,
  overflow: 0x4000,
  onChild: 0x08000000,
  rename: 0x10000000,
  onDir: 0x40000000,
} as const;

/** A name in a directory; the directory as its file system's id and its handle there (struct file_handle). */
export type Place = { readonly filesystem: string; readonly handle: Uint8Array; readonly name: string };

export type FanEvent = { readonly mask: number; readonly pid: number; readonly place: Place | undefined; readonly to: Place | undefined };

const METADATA_BYTES = 24;
const info = { dfidName: 2, oldDfidName: 10, newDfidName: 12 } as const;
// Names are bytes chosen by the process we watch.
const utf8 = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });

/** Events of one read of the group. Nothing in them points into `bytes`. */
export function parseFanEvents(bytes: Uint8Array): FanEvent[] {
  const events: FanEvent[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + METADATA_BYTES <= bytes.length; ) {
    const length = view.getUint32(at, true);
    if (length < METADATA_BYTES || at + length > bytes.length) break;
    const places = new Map<number, Place>();
    for (let record = at + view.getUint16(at + 6, true); record + 20 <= at + length; ) {
      const size = view.getUint16(record + 2, true);
      if (size < 20 || record + size > at + length) break;
      places.set(view.getUint8(record), placeOf(bytes, view, record, size));
      record += size;
    }
    events.push({
      mask: view.getUint32(at + 8, true),
      pid: view.getInt32(at + 20, true),
      place: places.get(info.dfidName) ?? places.get(info.oldDfidName),
      to: places.get(info.newDfidName),
    });
    at += length;
  }
  return events;
}

function placeOf(bytes: Uint8Array, view: DataView, at: number, size: number): Place {
  const handleBytes = 8 + Math.min(view.getUint32(at + 12, true), size - 20);
  const rest = bytes.subarray(at + 12 + handleBytes, at + size);
  const end = rest.indexOf(0);
  return {
    filesystem: Buffer.from(bytes.subarray(at + 4, at + 12)).toString("hex"),
    handle: bytes.slice(at + 12, at + 12 + handleBytes),
    name: utf8.decode(end < 0 ? rest : rest.subarray(0, end)),
  };
}
