import { describe, expect, test } from "vitest";
import { alertsOf, child, connects, exec, opens, proc, testRules } from "../testing/events.ts";

const app = proc(300, "/opt/app/server");
const bash = child(412, "/usr/bin/bash", app);
const python = child(413, "/usr/bin/python3", bash);
const sh = child(414, "/bin/sh", python, { argv: ["sh", "-i"] });
const stranger = child(900, "/usr/bin/bash", proc(800, "/usr/sbin/sshd"));

describe("reverse shell", () => {
  const shell = ["picket-chain-reverse-shell x1"];
  test.each([
    ["a shell connects and starts a shell", [exec(0, bash), connects(2000, bash), exec(3000, child(500, "/bin/sh", bash))], shell],
    ["a descendant connects and starts one", [exec(0, bash), exec(1, python), connects(2000, python), exec(3000, sh)], shell],
    ["the same process becomes the second shell", [exec(0, bash), connects(1, bash), exec(2, { ...bash, argv: ["bash", "-i"] })], shell],
    ["beside it, but to an odd port", [exec(0, bash), connects(1000, python), exec(2000, child(500, "/bin/sh", bash))], shell],
    ["over IPv6", [exec(0, bash), connects(1, bash, "2001:db8::7", 443), exec(2, child(500, "/bin/sh", bash))], shell],
    [
      "beside it, to a port every client uses",
      [exec(0, bash), connects(1, python, "198.51.100.7", 443), exec(2, child(500, "/bin/sh", bash))],
      [],
    ],
    ["connection before the first shell", [connects(0, bash), exec(1000, bash), exec(3000, child(500, "/bin/sh", bash))], []],
    ["second shell before the connection", [exec(0, bash), exec(1, sh), connects(2, python)], []],
    ["no second shell", [exec(0, bash), connects(1000, bash)], []],
    ["not a shell at the end", [exec(0, bash), connects(1, bash), exec(2, child(500, "/usr/bin/ssh-agent", bash))], []],
    ["another process connects", [exec(0, bash), connects(1000, stranger), exec(3000, child(500, "/bin/sh", bash))], []],
    ["31 s in all", [exec(0, bash), connects(15_000, bash), exec(31_000, child(500, "/bin/sh", bash))], []],
    ["loopback", [exec(0, bash), connects(1, bash, "127.0.0.53"), exec(2, child(500, "/bin/sh", bash))], []],
    ["IPv6 loopback", [exec(0, bash), connects(1, bash, "::1"), exec(2, child(500, "/bin/sh", bash))], []],
    ["mapped loopback", [exec(0, bash), connects(1, bash, "::ffff:127.0.0.1"), exec(2, child(500, "/bin/sh", bash))], []],
    [
      "a package tool runs its scripts",
      (() => {
        const npm = child(600, "/usr/bin/node", bash, { argv: ["node", "/usr/bin/npm", "install"] });
        return [
          exec(0, bash),
          exec(1, npm),
          connects(2, npm, "198.51.100.7", 443),
          exec(3, child(601, "/bin/sh", npm, { argv: ["sh", "-c", "node x"] })),
        ];
      })(),
      [],
    ],
  ])("%s", (_, events, expected) => {
    expect(alertsOf(events)).toEqual(expected);
  });

  test("links that arrive out of order count by their own time", () => {
    const links = [exec(0, bash), connects(2000, bash), exec(3000, child(500, "/bin/sh", bash))];
    for (const order of [
      [1, 0, 2],
      [2, 1, 0],
      [1, 2, 0],
      [0, 2, 1],
    ])
      expect(alertsOf(order.map((at) => links[at]!))).toEqual(shell);
  });

  test("a pid that came back is another process", () => {
    const reused = child(500, "/bin/sh", { ...bash, startTicks: 99_999 });
    expect(alertsOf([exec(0, bash), connects(1, bash), exec(2, reused)])).toEqual([]);
  });

  test("a reparented shell still belongs to where it came from", () => {
    const orphan = { ...python, ppid: 1, parent: { pid: 1, startTicks: 1, exe: "/usr/lib/systemd/systemd" } };
    expect(alertsOf([exec(0, bash), exec(1, python), connects(2, orphan), exec(3, child(600, "/bin/sh", orphan))])).toEqual(shell);
  });

  test("only 20 steps are remembered", () => {
    const noise = Array.from({ length: 20 }, (_, at) => connects(10 + at, child(700 + at, "/usr/bin/curl", bash), "198.51.100.9", 443));
    expect(alertsOf([exec(0, bash), connects(1, bash), ...noise, exec(900, child(500, "/bin/sh", bash))])).toEqual([]);
  });

  test("processes without a pid are each their own", () => {
    const unknown = proc(0, "/bin/bash", { startTicks: 0 });
    expect(alertsOf([exec(0, unknown), connects(1, unknown), exec(2, unknown)])).toEqual([]);
  });

  test("two shells of unrelated sessions under one init are no chain", () => {
    const init = proc(1, "/usr/lib/systemd/systemd");
    const one = child(10, "/bin/bash", init);
    const two = child(20, "/bin/bash", init);
    expect(alertsOf([exec(0, one), connects(1, child(30, "/usr/bin/nc", init)), exec(2, two)])).toEqual([]);
  });
});

describe("credential access", () => {
  const hit = ["picket-chain-credential-access x1"];
  const id = (parent: typeof bash) => child(501, "/usr/bin/id", parent);
  const perl = (...argv: string[]) => child(431, "/usr/bin/perl", bash, { argv: ["perl", ...argv] });
  const walks = (name: string, ...argv: string[]) => child(432, `/usr/bin/${name}`, bash, { argv: [name, ...argv] });
  const debconf = perl("-w", "/usr/share/debconf/frontend", "/var/lib/dpkg/info/tzdata.postinst");
  test.each([
    ["a program reads and starts another", [opens(0, python, "/etc/shadow"), exec(1000, id(python))], hit],
    [
      "a shell's child reads, the shell goes on",
      [exec(0, bash), opens(1, child(420, "/bin/cat", bash), "/etc/shadow"), exec(2, id(bash))],
      hit,
    ],
    ["a private key", [opens(0, python, "/home/ana/.ssh/id_ed25519"), exec(1, id(python))], hit],
    ["another file is read", [opens(0, python, "/etc/hostname"), exec(1, id(python))], []],
    ["/etc/passwd is everybody's", [opens(0, python, "/etc/passwd"), exec(1, id(python))], []],
    ["a public key", [opens(0, python, "/home/ana/.ssh/id_ed25519.pub"), exec(1, id(python))], []],
    ["the start comes first", [exec(0, id(python)), opens(1000, python, "/etc/shadow")], []],
    ["somebody else starts something", [opens(0, python, "/etc/shadow"), exec(1, id(stranger))], []],
    ["31 s later", [opens(0, python, "/etc/shadow"), exec(31_000, id(python))], []],
    ["opened for writing only", [opens(0, python, "/etc/shadow", 1), exec(1, id(python))], []],
    [
      "sudo does that all day",
      [opens(0, child(430, "/usr/bin/sudo", bash), "/etc/shadow"), exec(1, id(child(430, "/usr/bin/sudo", bash)))],
      [],
    ],
    ["a package's Perl script looks up a user", [opens(0, debconf, "/etc/shadow"), exec(1, id(debconf))], []],
    ["Perl code of a command line", [opens(0, perl("-we", "/usr/bin/x"), "/etc/shadow"), exec(1, id(perl("-we", "/usr/bin/x")))], hit],
    [
      "a backup of all of /etc",
      [exec(0, bash), opens(1, walks("tar", "-czf", "/var/backups/c.tgz", "etc"), "/etc/shadow"), exec(2, id(bash))],
      [],
    ],
    ["a search in /etc", [exec(0, bash), opens(1, walks("grep", "-r", "mosquitto", "/etc"), "/etc/shadow"), exec(2, id(bash))], []],
    ["a search for passwords", [exec(0, bash), opens(1, walks("grep", "-ri", "password", "/etc"), "/etc/shadow"), exec(2, id(bash))], hit],
    ["all of /etc to standard output", [exec(0, bash), opens(1, walks("tar", "-cf", "-", "/etc"), "/etc/shadow"), exec(2, id(bash))], hit],
    ["a package's Perl script reads a key", [opens(0, debconf, "/root/.ssh/id_rsa"), exec(1, id(debconf))], hit],
  ])("%s", (_, events, expected) => {
    expect(alertsOf(events)).toEqual(expected);
  });
});

describe("burst", () => {
  const hit = ["picket-chain-burst x1"];
  const run = (parent: typeof bash, names: readonly string[], everyMs: number, from = 700) =>
    names.map((name, at) => exec(at * everyMs, child(from + at, `/usr/bin/${name}`, parent)));
  const five = ["a1", "a2", "a3", "a4", "a5"];
  const built = child(450, "/opt/app/x", child(440, "/usr/bin/make", bash));
  const looking = ["id", "uname", "whoami", "ps", "cat"];
  test.each([
    ["five in 8 s", run(app, five, 2000), hit],
    ["a shell that looks around", run(bash, looking, 1000), hit],
    ["four", run(app, five.slice(1), 100), []],
    ["a browser starts its helpers", run(app, ["renderer", "renderer", "renderer", "gpu", "renderer"], 100), []],
    ["five in 10 s", run(app, five, 2500), []],
    ["a build tool", run(child(440, "/usr/bin/make", bash), five, 10), []],
    ["below a build tool", [exec(0, built), ...run(built, five, 10)], []],
    ["a shell script", run(bash, five, 100), []],
    ["one process that becomes five programs", five.map((name, at) => exec(at, child(700, `/usr/bin/${name}`, app))), []],
    ["a login", run(proc(460, "/usr/sbin/sshd"), five, 10), []],
    ["children of different parents", [...run(app, five.slice(0, 3), 10), ...run(python, five.slice(3), 10, 800)], []],
  ])("%s", (_, events, expected) => {
    expect(alertsOf(events)).toEqual(expected);
  });

  test("a shell script that something speaks against", () => {
    const rules = testRules("medium a3");
    expect(alertsOf(run(bash, five, 100), rules)).toContain("picket-chain-burst x1");
    expect(alertsOf(run(bash, ["a1", "a2", "a4", "a5", "a6"], 100), rules)).toEqual([]);
  });

  test("a weak sign speaks only against a script that looks around", () => {
    const rules = testRules("low a3");
    expect(alertsOf(run(bash, ["a1", "a2", "a3", "id", "uname"], 100), rules)).toEqual(hit);
    expect(alertsOf(run(bash, ["a1", "a2", "a3", "a4", "uname"], 100), rules)).toEqual([]);
  });

  test.each([
    ["a script of a package", "/usr/bin/perl", ["/usr/bin/perl", "-wT", "/usr/bin/pg_ctlcluster", "15", "main", "start"], []],
    ["code on the command line", "/usr/bin/perl", ["perl", "-we", "/usr/bin/x"], hit],
    ["a script from elsewhere", "/usr/bin/python3.11", ["python3", "-u", "/opt/app/run.py"], hit],
    ["a package's folder left again", "/usr/bin/python3.11", ["python3", "/usr/lib/../../tmp/run.py"], hit],
  ])("by an interpreter: %s", (_, exe, argv, expected) => {
    const parent = child(412, exe, app, { argv });
    expect(alertsOf(run(parent, five, 100))).toEqual(expected);
  });

  test("what a service does every day", () => {
    const round = (at: number) => five.map((name, of) => exec(at * 60_000 + of, child(700 + at * 10 + of, `/usr/bin/${name}`, app)));
    const week = Array.from({ length: 8 }, (_, at) => round(at));
    expect(alertsOf(week.flat())).toEqual(["picket-chain-burst x6"]);
    expect(
      alertsOf([
        ...week.flat(),
        ...run(app, ["a1", "a2", "a3", "a4", "new"], 10, 900).map((event) => ({ ...event, timeMs: event.timeMs + 1_000_000 })),
      ]),
    ).toEqual(["picket-chain-burst x6", "picket-chain-burst x1"]);
  });
});
