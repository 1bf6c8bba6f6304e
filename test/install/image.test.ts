// Images of many cards, and what happens when one card is copied after it became a device.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Alert } from "../../protocol/alert.ts";
import { eventually } from "../e2e/program.ts";
import type { Machine } from "./machine.ts";
import { cannotBoot, createPlace, eventAt, type Place, type Site } from "./place.ts";

const TOKEN = "/etc/picket/enroll.token";
const connected = "until picket-agent status --json 2>/dev/null | grep -q '\"connected\":true'; do sleep 0.2; done";
const name = async (machine: Machine) => JSON.parse(await machine.run("cat /var/lib/picket/agent/identity.json")).device as string;
let place: Place;
let site: Site;
let first: Machine;

beforeAll(async () => {
  if (cannotBoot) return;
  place = await createPlace();
  [site, first] = await Promise.all([place.site({ elsewhere: true }), place.boot("device")]);
}, 240_000);

afterAll(async () => place?.[Symbol.asyncDispose](), 60_000);

const bootTest = test.skipIf(cannotBoot !== undefined);
const title = (text: string) => (cannotBoot ? `${text} (${cannotBoot})` : text);

bootTest(
  title("copies of an image enrol at their first start, each as a device of its own, and no token stays"),
  async () => {
    await first.run("cat >TOKEN", (await site.picket("token create --uses 3 2>/dev/null")).trim());
    const { code, stderr } = await first.tryRun("bash /mnt/picket/install.sh --device --image --token-file TOKEN && rm TOKEN");
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/enrols this machine at its next start, and every machine with a copy of this disk/);
    expect(
      await first.run(`stat -c %a ${TOKEN}; systemctl is-active picket-agent || true; [ ! -e /var/lib/picket/agent/identity.json ]`),
    ).toBe("600\ninactive\n");
    const second = await place.boot("attacker", first);
    await first.reboot();
    for (const machine of [first, second]) await machine.run(`${connected}; [ ! -e ${TOKEN} ]`);
    const names = [await name(first), await name(second)];
    expect(names[0]).toMatch(/^device-[0-9a-f]{6}$/);
    expect(new Set(names).size).toBe(2);
    await first.run("/bin/echo from-an-image");
    await eventAt(site, names[0]!, "process.exec", "from-an-image");
    await second[Symbol.asyncDispose]();
  },
  180_000,
);

bootTest(
  title("a token that is left on a device is removed; on a copied card in another board it makes a new device"),
  async () => {
    const before = await name(first);
    await first.run(`cat >${TOKEN} && systemctl restart picket-agent`, await site.picket("token create 2>/dev/null"));
    await first.run(`${connected}; [ ! -e ${TOKEN} ]`);
    expect(await name(first)).toBe(before);
    // Another board: the identity's is not this one.
    await first.run(
      `echo another >/var/lib/picket/agent/board; cat >${TOKEN} && systemctl restart picket-agent`,
      await site.picket("token create 2>/dev/null"),
    );
    await first.run(`${connected}; [ ! -e ${TOKEN} ]`);
    expect(await name(first)).not.toBe(before);
  },
  180_000,
);

bootTest(
  title("two machines on one certificate raise an alert"),
  async () => {
    const device = await name(first);
    const clone = await place.boot("attacker", first);
    const alert = await eventually(
      "the alert about twins",
      async () => {
        const lines = (await site.picket(`alerts --device ${device} --json`)).split("\n").filter(Boolean);
        return lines.map((line) => JSON.parse(line) as Alert).find(({ rule }) => rule.id === "picket-broker-twins");
      },
      90_000,
    );
    expect(alert.summary).toContain(`Two machines use the certificate of ${device}`);
    await clone[Symbol.asyncDispose]();
  },
  180_000,
);
