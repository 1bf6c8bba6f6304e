// device.usb: USB devices that are plugged in and pulled out.
import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import type { EventDraft } from "@picket/protocol/event";
import type { Capability } from "@picket/protocol/status";

type Names = { readonly vendor: string; readonly product: string };
type Fields = ReadonlyMap<string, string>;

/** Devices whose names are kept for when they are gone. */
const MAX_DEVICES = 256;

export type Usb = Disposable & { capability(): Capability };

/**
 * `listen` brings the kernel's device events, and may throw; `sys`: where /sys is. A device's names are its own claims: bounded, and
 * without control characters.
 */
export function startUsb(of: {
  readonly listen: (to: { readonly onEvent: (event: Fields) => void; readonly onLost: () => void }) => Disposable;
  readonly emit: (draft: EventDraft) => void;
  readonly sys?: string;
}): Usb {
  const sys = of.sys ?? "/sys";
  const known = pluggedIn(sys);
  const onEvent = (event: Fields) => {
    const action = event.get("ACTION");
    const path = event.get("DEVPATH");
    if (event.get("SUBSYSTEM") !== "usb" || event.get("DEVTYPE") !== "usb_device" || path === undefined) return;
    if (action !== "add" && action !== "remove") return;
    const names = (action === "remove" ? known.get(path) : undefined) ?? namesOf(sys, path, event.get("PRODUCT"));
    if (action === "remove") known.delete(path);
    else if (known.size < MAX_DEVICES) known.set(path, names);
    of.emit({ type: "device.usb", timeMs: Date.now(), body: { ...names, action } });
  };
  const onLost = () => of.emit({ type: "sensor.lost", timeMs: Date.now(), body: { collector: "usb", count: 1, where: "kernel" } });
  let listening: Disposable;
  try {
    listening = of.listen({ onEvent, onLost });
  } catch (error) {
    const todo = (error as { todo?: unknown }).todo;
    const why = (error instanceof Error ? error.message : String(error)).slice(0, 512);
    const capability = { name: "usb", level: "off" as const, why, ...(typeof todo === "string" ? { todo } : {}) };
    return { capability: () => capability, [Symbol.dispose]() {} };
  }
  return {
    capability: () => ({ name: "usb", level: "live", why: "told by the kernel's device events" }),
    [Symbol.dispose]: () => listening[Symbol.dispose](),
  };
}

/** "46d/c31c/110" and what the device says of itself, as "046d Logitech" and "c31c USB Keyboard". */
function namesOf(sys: string, path: string, product = ""): Names {
  // It becomes part of a path, and must stay below /sys.
  const device = path.startsWith("/devices/") && !path.includes("/../") ? join(sys, path) : undefined;
  const claim = (name: string) => (device === undefined ? "" : textOf(join(device, name)));
  const [vendorId = "", productId = ""] = product.split("/");
  const named = (id: string, name: string) => `${/^[0-9a-f]{1,4}$/i.test(id) ? id.toLowerCase().padStart(4, "0") : "????"} ${name}`.trim();
  return {
    vendor: named(vendorId, claim("manufacturer")).slice(0, 64),
    product: named(productId, claim("product")).slice(0, 128),
  };
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8").replaceAll(/\p{C}/gu, " ").trim();
  } catch {
    return "";
  }
}

/** Those that were there before we came: when they go, /sys no longer knows their names. */
function pluggedIn(sys: string): Map<string, Names> {
  const known = new Map<string, Names>();
  const folder = join(sys, "bus/usb/devices");
  for (const name of list(folder).slice(0, MAX_DEVICES)) {
    try {
      const path = realpathSync(join(folder, name));
      const product = `${textOf(join(path, "idVendor"))}/${textOf(join(path, "idProduct"))}`;
      if (product !== "/") known.set(path.slice(realpathSync(sys).length), namesOf(sys, path.slice(realpathSync(sys).length), product));
    } catch {} // Pulled out just now.
  }
  return known;
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
