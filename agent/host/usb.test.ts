import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EventDraft } from "@picket/protocol/event";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startUsb } from "./usb.ts";

let sys: string;
beforeEach(() => {
  sys = mkdtempSync(join(tmpdir(), "picket-usb-"));
});
afterEach(() => rmSync(sys, { recursive: true }));

const keyboard = "/devices/pci0000:00/usb1/1-1";
function plug(path: string, files: Record<string, string>) {
  mkdirSync(join(sys, path), { recursive: true });
  mkdirSync(join(sys, "bus/usb/devices"), { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(sys, path, name), `${text}\n`);
}

function start() {
  const told: EventDraft["body"][] = [];
  let send: (event: ReadonlyMap<string, string>) => void = () => {};
  let lose = () => {};
  const usb = startUsb({
    listen: ({ onEvent, onLost }) => {
      send = onEvent;
      lose = onLost;
      return { [Symbol.dispose]() {} };
    },
    emit: ({ body }) => told.push(body),
    sys,
  });
  const event = (action: string, more: Record<string, string> = {}) =>
    send(
      new Map(
        Object.entries({ ACTION: action, DEVPATH: keyboard, SUBSYSTEM: "usb", DEVTYPE: "usb_device", PRODUCT: "46d/c31c/110", ...more }),
      ),
    );
  return { told, event, lose: () => lose(), usb };
}

test("a device is told with what it calls itself, also when it is gone and nobody knows its names any more", () => {
  const { told, event } = start();
  plug(keyboard, { manufacturer: "Logitech", product: "USB Keyboard" });
  event("add");
  rmSync(join(sys, "devices"), { recursive: true });
  event("remove");
  const names = { vendor: "046d Logitech", product: "c31c USB Keyboard" };
  expect(told).toEqual([
    { ...names, action: "add" },
    { ...names, action: "remove" },
  ]);
});

test("a device that was there before we came has its names when it goes", () => {
  plug(keyboard, { manufacturer: "Acme", product: "Stick", idVendor: "046d", idProduct: "c31c" });
  symlinkSync(join(sys, keyboard), join(sys, "bus/usb/devices/1-1"));
  const { told, event } = start();
  rmSync(join(sys, "devices"), { recursive: true });
  event("remove");
  expect(told).toEqual([{ vendor: "046d Acme", product: "c31c Stick", action: "remove" }]);
});

test("interfaces, other buses, binding and changes are not devices that come or go", () => {
  const { told, event } = start();
  event("add", { DEVTYPE: "usb_interface" });
  event("add", { SUBSYSTEM: "block" });
  event("bind");
  event("change");
  expect(told).toEqual([]);
});

test("names that attack: control characters, length, a path out of /sys, a number that is none", () => {
  const { told, event } = start();
  plug(keyboard, { manufacturer: `\u001b[8mhidden${"x".repeat(500)}`, product: "a\nb" });
  event("add");
  event("add", { DEVPATH: "/devices/../../../../etc", PRODUCT: "zz/../x" });
  const [first, second] = told as { vendor: string; product: string }[];
  expect(first?.vendor).toMatch(/^046d \[8mhiddenx+$/);
  expect(first?.vendor).toHaveLength(64);
  expect(first?.product).toBe("c31c a b");
  expect(second).toMatchObject({ vendor: "????", product: "????" });
});

test("loss is told; where nobody may listen it is off, and says what to do", () => {
  const { told, lose, usb } = start();
  lose();
  expect(told).toEqual([{ collector: "usb", count: 1, where: "kernel" }]);
  expect(usb.capability().level).toBe("live");
  const listen = () => {
    throw Object.assign(new Error("not permitted"), { todo: "run as root" });
  };
  expect(startUsb({ listen, emit: () => {}, sys }).capability()).toEqual({
    name: "usb",
    level: "off",
    why: "not permitted",
    todo: "run as root",
  });
});
