// Messages injected as the kernel would send them: root may hand it one, which it numbers and sends on (lib/kobject_uevent.c, Linux 4.18).
import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { closeFd, openNetlink, sendTo } from "./libc.ts";
import { listenToUevents, parseUevent, type Uevent } from "./uevent.ts";

const NETLINK_KOBJECT_UEVENT = 15;
const missing = process.getuid?.() === 0 ? undefined : "needs root to send and to listen";
if (missing) console.warn(`uevent: skipped, ${missing}`);

/** struct nlmsghdr and the text. Returns 0 or a negative errno. */
function inject(fields: readonly string[]): number {
  const text = Buffer.from(fields.map((field) => `${field}\0`).join(""));
  const message = Buffer.alloc(16 + text.length);
  message.writeUInt32LE(message.length, 0);
  message.writeUInt16LE(0x10, 4); // NLMSG_MIN_TYPE
  message.writeUInt16LE(1, 6); // NLM_F_REQUEST
  text.copy(message, 16);
  const fd = openNetlink(NETLINK_KOBJECT_UEVENT, 0, 1 << 16);
  try {
    return fd < 0 ? fd : sendTo(fd, message);
  } finally {
    closeFd(fd);
  }
}

test.skipIf(missing)(
  "what the kernel sends arrives: a device that is injected, and a real one that is asked to report itself",
  async () => {
    const events: Uevent[] = [];
    using _ = listenToUevents({ onEvent: (event) => events.push(event), onLost: () => {}, everyMs: 5 });
    const path = "/devices/picket-test/usb1/1-1";
    expect(inject([`add@${path}`, "ACTION=add", `DEVPATH=${path}`, "SUBSYSTEM=usb", "DEVTYPE=usb_device", "PRODUCT=46d/c31c/110"])).toBe(0);
    await expect.poll(() => events.find((event) => event.get("DEVPATH") === path)?.get("PRODUCT")).toBe("46d/c31c/110");
    writeFileSync("/sys/class/net/lo/uevent", "change");
    await expect.poll(() => events.some((event) => event.get("INTERFACE") === "lo" && event.get("ACTION") === "change")).toBe(true);
  },
);

test.skipIf(missing)("more than the kernel keeps for us is counted as lost, and what comes later is seen", async () => {
  const events: Uevent[] = [];
  let lost = 0;
  using _ = listenToUevents({ onEvent: (event) => events.push(event), onLost: () => lost++, everyMs: 5 });
  const path = "/devices/picket-flood";
  // All within one turn of ours, so that nobody reads meanwhile.
  for (let at = 0; at < 4000; at++) inject([`add@${path}`, "ACTION=add", `DEVPATH=${path}`, `PAD=${"x".repeat(1500)}`]);
  await expect.poll(() => lost).toBeGreaterThan(0);
  inject([`add@${path}`, "ACTION=add", `DEVPATH=${path}/last`]);
  await expect.poll(() => events.some((event) => event.get("DEVPATH") === `${path}/last`)).toBe(true);
});

test("messages of udev, halves and noise are none", () => {
  const parse = (text: string) => parseUevent(Buffer.from(text));
  expect(parse("libudev\0\xfe\xed")).toBeUndefined();
  expect(parse("")).toBeUndefined();
  expect(Object.fromEntries(parse("add@/x\0ACTION=add\0=a\0b\0C=")!)).toEqual({ ACTION: "add", C: "" });
});
