// The whole life of a site and a device on machines of their own, from nothing to nothing.
import { afterAll, beforeAll, expect, test } from "vitest";
import { start } from "../e2e/program.ts";
import type { Machine } from "./machine.ts";
import { arch, cannotBoot, createPlace, eventAt, type Place, SECOND, type Site } from "./place.ts";

const PORT = 4444;
const AGENT = `/opt/picket/dist/linux-${arch}/picket-agent`;
const DIST = "/opt/picket/dist";
const upgrade = "/opt/picket/agent/device.sh --upgrade";
let place: Place;
let site: Site;
let device: Machine;
let fresh: readonly string[];

beforeAll(async () => {
  if (cannotBoot) return;
  place = await createPlace();
  device = await place.boot("device");
  fresh = await device.listing();
}, 240_000);

afterAll(async () => place?.[Symbol.asyncDispose](), 60_000);

const bootTest = test.skipIf(cannotBoot !== undefined);
const title = (text: string) => (cannotBoot ? `${text} (${cannotBoot})` : text);
/** Signs what the site hands out as it lies there now, with the operator's key. */
const sign = () => site.picket(`operator sign ${DIST}/`);
const table = "inet picket_isolation";
const status = async () => JSON.parse(await device.run("picket-agent status --json"));

bootTest(
  title("a fresh machine becomes a site, which runs without any right"),
  async () => {
    site = await place.site();
    expect(await site.run("systemctl is-active picket-site; systemctl is-enabled picket-site")).toBe("active\nenabled\n");
    const [user, rights] = (
      await site.run(
        'pid=$(systemctl show -P MainPID picket-site); ps() { stat -c %U /proc/$pid; }; ps; grep -E "CapEff|NoNewPrivs" /proc/$pid/status',
      )
    ).split(/\n(.*)/s);
    expect(user).toBe("picket");
    expect(rights).toMatch(/CapEff:\s0{16}\nNoNewPrivs:\s1/);
    expect(await site.run("stat -c '%a %U' /var/lib/picket/site /etc/picket/site.toml /home/anna/.config/picket/site.json")).toBe(
      "700 picket\n640 root\n600 anna\n",
    );
    expect(await site.run("runuser -u anna -- picket devices")).toMatch(/No device is enrolled yet/);
    expect((await site.tryRun("cd /root/package && ./install.sh --site")).stderr).toMatch(/holds a site already: .*--upgrade/);
  },
  180_000,
);

bootTest(title("units say nothing that systemd does not understand"), async () => {
  await site.run("mkdir -p /opt/picket/agent && touch /opt/picket/agent/{first-boot.sh,picket-agent} && chmod +x /opt/picket/agent/*");
  const { code, stderr } = await site.tryRun(
    "cp /root/package/install/picket-agent.service /run/systemd/system/ && systemd-analyze verify picket-agent.service picket-site.service",
  );
  await site.run("rm -r /run/systemd/system/picket-agent.service /opt/picket/agent");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
});

bootTest(title("a machine that cannot be a device is told why, in one line"), async () => {
  const refused = async (architecture: string, kernel: string) => {
    await device.run(
      `printf '#!/bin/sh\\necho ${architecture}\\n' >/run/dpkg; printf '#!/bin/sh\\necho ${kernel}\\n' >/run/uname; chmod +x /run/dpkg /run/uname`,
    );
    const there = "mount --bind /run/dpkg /usr/bin/dpkg && mount --bind /run/uname /usr/bin/uname && bash /mnt/picket/install/device.sh";
    return (await device.tryRun(`unshare --mount bash -c '${there}'`)).stderr;
  };
  expect(await refused("armhf", "aarch64")).toMatch(
    /^picket: the kernel is 64-bit \(aarch64\) but this system's programs are 32-bit \(armhf\), .*64-bit Raspberry Pi OS/,
  );
  expect(await refused("armhf", "armv7l")).toMatch(/^picket: this is a 32-bit system \(armhf\)/);
  expect(await refused("riscv64", "riscv64")).toMatch(/^picket: riscv64 is not supported/);
  expect((await device.tryRun("bash /mnt/picket/install/device.sh <<<hello")).stderr).toMatch(/no Picket token/);
});

/** What somebody who owns the broker may try; each leaves the device as it was. */
const attacks: [what: string, how: string, words: RegExp][] = [
  ["another agent", `printf x >>${AGENT}`, /picket-agent is not what anna signed/],
  ["another unit", `sed -i s/CAP_BPF/~/ ${DIST}/picket-agent.service`, /picket-agent.service is not what anna signed/],
  ["another installer", `sed -i 2i# ${DIST}/device.sh`, /this is not the installer your operator signed/],
  ["a changed release", `sed -i 's/\\.\\(.\\)/.X/' ${DIST}/release.jws`, /not the installer|signature is not anna's|not for the site/],
  [
    "a release signed with a key of his own",
    `picket --home /root/mallory operator sign ${DIST}/`,
    /key that is not on the operators' list/,
  ],
];

bootTest(
  title("a stolen broker cannot give a device anything that no operator signed"),
  async () => {
    const line = await site.line("--uses 9");
    await site.run(`cp -a $(readlink ${DIST}) /root/good; picket --home /root/mallory operator init --site north`);
    for (const [what, how, words] of attacks) {
      await site.run(how);
      const { code, stderr } = await device.tryRun(line);
      expect({ what, code, said: words.test(stderr) ? "" : stderr }).toEqual({ what, code: 1, said: "" });
      await site.run(`rm -rf $(readlink ${DIST}) && cp -a /root/good $(readlink ${DIST})`);
    }
    // He may also claim to be another site, or to have other operators.
    const token = (await site.picket("token create")).trim();
    const forged = (field: string) => {
      const json = JSON.parse(Buffer.from(token.slice(8), "base64url").toString());
      return `picket1.${Buffer.from(JSON.stringify({ ...json, [field]: "A".repeat(43) })).toString("base64url")}`;
    };
    const there = (text: string) => device.tryRun("bash /mnt/picket/install/device.sh", text);
    expect((await there(forged("ca"))).stderr).toMatch(/is not the site this token was made for/);
    expect((await there(forged("anchor"))).stderr).toMatch(/shows other operators' keys than this machine trusts/);
    expect(await device.listing()).toEqual(fresh);
  },
  180_000,
);

bootTest(
  title("one pasted line makes a bare machine a device, and its events come to the site"),
  async () => {
    const { code, stderr } = await device.tryRun(await site.line());
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/this machine is the device device of site north, and connected/);
    await device.run("/bin/echo first-event-of-this-device");
    await eventAt(site, "device", "process.exec", "first-event-of-this-device");
    expect(stderr).not.toContain("picket1.");
    const { online } = await status();
    expect(online.capabilities.filter(({ level }: { level: string }) => level !== "live")).toEqual([]);
    expect(await device.run("grep -E 'CapEff|NoNewPrivs' /proc/$(systemctl show -P MainPID picket-agent)/status")).toMatch(
      /CapEff:\s000000c000081004\nNoNewPrivs:\s1/,
    );
    expect((await device.tryRun(await site.line())).stderr).toMatch(/is the device device of site north already/);
  },
  180_000,
);

bootTest(
  title("an upgrade holds isolation without a gap and keeps identity and buffer"),
  async () => {
    await using attacker = start(
      place.network.on("attacker", [
        "bun",
        new URL("../e2e/attacker.ts", import.meta.url).pathname,
        place.network.address.attacker.v4,
        String(PORT),
      ]),
    );
    await attacker.line(/^listening/);
    const calls = `timeout 0.3 bash -c 'exec 3<>/dev/tcp/${place.network.address.attacker.v4}/${PORT}' 2>/dev/null`;
    await device.run(calls);
    await site.picket("isolate device --yes");
    const before = { identity: await device.run("cat /var/lib/picket/agent/identity.json"), ...(await status()) };
    const rules = await device.run(`nft list table ${table} | grep -v packets`);
    await site.run(`cp /mnt/second/picket-agent ${AGENT}`);
    await sign();
    const probe = `(until [ -e /run/done ]; do ${calls} && echo leaked; done) >/run/leaks & ${upgrade}; code=$?; touch /run/done; wait; exit $code`;
    const { code, stderr } = await device.tryRun(probe);
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/identity, buffer and isolation are as they were/);
    expect(await device.run("cat /run/leaks")).toBe("");
    expect(await device.run(`nft list table ${table} | grep -v packets`)).toBe(rules);
    expect(await device.run("cat /var/lib/picket/agent/identity.json")).toBe(before.identity);
    expect(
      await device.run(
        `cmp $(readlink -f /proc/$(systemctl show -P MainPID picket-agent)/exe) ${SECOND} && ls -d /opt/picket/agent-* | wc -l`,
      ),
    ).toBe("1\n");
    expect((await status()).online.isolation.state).toBe("isolated");
    expect((await device.tryRun(upgrade)).stderr).toMatch(/nothing to do/);

    // Stopping keeps isolation too, and a start after a power cut brings it back.
    await device.run(`systemctl stop picket-agent && nft list table ${table} && nft flush ruleset`);
    await device.reboot();
    await device.run(`until nft list table ${table} 2>/dev/null; do sleep 0.1; done`);
    await site.picket("release device");
    await device.run(calls);
  },
  180_000,
);

bootTest(
  title("a version that does not get to its site is taken back, and nothing of the buffer is lost"),
  async () => {
    await site.run(`printf '#!/bin/sh\\n[ "$1" = --version ] || exit 1\\n' >${AGENT}`);
    await sign();
    await device.run("/bin/echo just-before-the-bad-version");
    const bad = await device.tryRun(`PICKET_HEALTHY_S=8 ${upgrade}`);
    expect(bad.code).toBe(1);
    expect(bad.stderr).toMatch(/did not get to its site within 8 s: the old one is back/);
    expect(await device.run(`cmp /opt/picket/agent/picket-agent ${SECOND} && ls -d /opt/picket/agent-* | wc -l`)).toBe("1\n");
    await eventAt(site, "device", "process.exec", "just-before-the-bad-version");
    const { device: it, ledger } = JSON.parse(await site.picket("device device --json"));
    expect(it).toMatchObject({ presence: "online" });
    // Its kernel is this host's: what other tests do may be more than it keeps up with. What it took in, it brought.
    expect(ledger.totals).toMatchObject({ evicted: 0, power: 0, refused: 0, unexplained: 0 });
    expect((await site.picket("devices --json")).match(/"id"/g)).toHaveLength(1);

    // What was signed before must not come back: it may have faults that somebody knows by now.
    await site.run(`rm -rf $(readlink ${DIST}) && cp -a /root/good $(readlink ${DIST})`);
    expect((await device.tryRun(upgrade)).stderr).toMatch(/older than that this machine has/);
  },
  180_000,
);

bootTest(
  title("a site is upgraded in place: its devices, events and operators stay"),
  async () => {
    const { stderr } = await site.tryRun("cd /root/package && ./install.sh --upgrade --operator-home /home/anna/.config/picket");
    expect(stderr).toMatch(/the site is now \d/);
    expect(await site.run("ls -d /opt/picket/site-* /opt/picket/dist-* | wc -l")).toBe("2\n");
    await eventAt(site, "device", "process.exec", "first-event-of-this-device");
    await device.run("until picket-agent status --json | grep -q '\"connected\":true'; do sleep 0.2; done");
  },
  180_000,
);

bootTest(
  title("--uninstall ends isolation, says goodbye and keeps data; --purge leaves nothing"),
  async () => {
    await site.picket("isolate device --yes");
    const { stderr } = await device.tryRun("/opt/picket/agent/device.sh --uninstall");
    expect(stderr).toMatch(/was isolated and is not any more[\s\S]*stay in \/var\/lib\/picket\/agent[\s\S]*picket device device revoke/);
    await device.run(`! nft list table ${table} 2>/dev/null && [ -e /var/lib/picket/agent/identity.json ] && [ ! -e /opt/picket ]`);
    expect(JSON.parse(await site.picket("device device --json")).device.presence).toBe("stopped");
    await eventAt(site, "device", "agent.stop", "SIGTERM");
    // What was kept is enough to come back, without a token.
    const again = await device.tryRun("bash /mnt/picket/install.sh --upgrade");
    expect(again.code, again.stderr).toBe(0);
    expect((await status()).device).toBe("device");
    expect((await device.tryRun("bash /mnt/picket/install.sh --uninstall --purge")).stderr).toMatch(/removed$/m);
    expect(await device.listing()).toEqual(fresh);

    expect((await site.tryRun("/opt/picket/site/install.sh --uninstall --purge")).stderr).toMatch(/operators' keys .* were not touched/);
    const left = await site.run(
      "find / -xdev \\( -name '*picket*' -o -user picket \\) -not -path '/root/*' -not -path '/home/*' -not -path '/mnt*' -not -path '/var/log/*' 2>/dev/null; getent passwd picket || true; systemctl --failed --no-legend",
    );
    expect(left).toBe("");
  },
  180_000,
);
