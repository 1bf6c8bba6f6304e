import type { SensorEvent } from "@picket/protocol/event";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createMask } from "./mask.ts";

const key = Buffer.from("a key of this device");
const mask = createMask({ key, names: [], patterns: [] });
const SECRET = "hunter2";
const MARK = "<masked>";

function masked(argv: readonly string[], by = mask): string[] {
  const event = {
    type: "process.exec",
    body: { process: { pid: 1, startTicks: 1, ppid: 0, uid: 0, exe: argv[0]!, argv: [...argv] } },
  } as unknown as SensorEvent;
  const { body } = by(event);
  return ("process" in body ? body.process!.argv : []).map((arg) => arg.replaceAll(/<masked:[0-9a-f]{8}>/g, MARK));
}

// Each line is what was typed; «...» is what must not leave the device.
test.each([
  "myapp --password=«hunter2» --verbose",
  "myapp --password «hunter2» --verbose",
  "myapp --db-password=«hunter2»",
  "myapp --apiKey=«hunter2» --authToken «hunter2»",
  "myapp --secret-key «hunter2» --token=«hunter2»",
  "mysql -u root -p«hunter2» shop",
  "mysqldump -p«hunter2» --all-databases",
  "sshpass -p «hunter2» ssh root@192.0.2.1",
  "sshpass -p«hunter2» ssh root@192.0.2.1",
  "curl -u bob:«hunter2» https://example.org",
  "curl -ubob:«hunter2» https://example.org",
  "curl --user=bob:«hunter2» https://example.org",
  "curl https://bob:«hunter2»@example.org/x",
  "curl https://example.org/?access_token=«hunter2»&x=1",
  "git clone https://oauth2:«hunter2»@git.example.org/x.git",
  "psql postgres://app:«hunter2»@db.example.org/app",
  "redis-cli -h db -a «hunter2» PING",
  "mosquitto_pub -u bob -P «hunter2» -t x -m y",
  "ldapsearch -x -D cn=admin -w «hunter2»",
  "smbclient //server/share -U bob%«hunter2»",
  "docker login -u bob -p «hunter2» registry.example.org",
  "useradd -m -p «hunter2» eve",
  "openssl enc -aes-256-cbc -passin pass:«hunter2»",
  "openssl pkcs12 -password pass:«hunter2»",
  "zip -P «hunter2» out.zip x",
  "7z a -p«hunter2» out.7z x",
  "nmcli dev wifi connect Home password «hunter2»",
  "env AWS_SECRET_ACCESS_KEY=«hunter2» DB_PASSWORD=«hunter2» aws s3 ls",
  "sudo mysql -p«hunter2»",
  "gh auth login --with-token «ghp_0123456789abcdefghijABCDEFGHIJ0123»",
  "deploy «glpat-0123456789abcdefghij»",
  "call «eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.c2lnbmF0dXJlMTIz»",
])("%s", (line) => {
  const argv = line.split(" ");
  expect(masked(argv.map((arg) => arg.replaceAll(/[«»]/g, ""))).join(" ")).toBe(line.replaceAll(/«[^»]*»/g, MARK));
  // And the same inside a shell's argument.
  const inShell = masked(["sh", "-c", `cd /tmp && ${line.replaceAll(/[«»]/g, "")}; id`]);
  expect(inShell[2]).toBe(`cd /tmp && ${line.replaceAll(/«[^»]*»/g, MARK)}; id`);
});

test.each([
  [
    ["curl", "-H", "Authorization: Bearer hunter2", "https://x.example"],
    ["curl", "-H", `Authorization: Bearer ${MARK}`, "https://x.example"],
  ],
  [
    ["curl", "-H", "X-Api-Key:hunter2"],
    ["curl", "-H", `X-Api-Key:${MARK}`],
  ],
  [
    ["curl", "-H", "Cookie: a=hunter2; b=hunter2"],
    ["curl", "-H", `Cookie: ${MARK}`],
  ],
  [
    ["wget", "--header=Authorization: Basic hunter2"],
    ["wget", `--header=Authorization: Basic ${MARK}`],
  ],
  [
    ["sh", "-c", `curl -H 'Authorization: Bearer hunter2' https://x.example`],
    ["sh", "-c", `curl -H 'Authorization: Bearer ${MARK}' https://x.example`],
  ],
  [
    ["curl", "-d", '{"user":"bob","password":"hunter2"}'],
    ["curl", "-d", `{"user":"bob","password":"${MARK}"}`],
  ],
  [
    ["bash", "-c", 'export TOKEN="hunter2"'],
    ["bash", "-c", `export TOKEN="${MARK}"`],
  ],
])("%#: headers, bodies and quotes", (argv, told) => {
  expect(masked(argv)).toEqual(told);
});

// What an analyst needs must stay.
test.each([
  "passwd root",
  "cat /etc/passwd /etc/shadow",
  "ssh -p 2222 root@192.0.2.1",
  "mkdir -p /srv/secrets",
  "nc -lvp 4444",
  "rsync --password-file=/etc/rsync.pass a b",
  "grep -r password /etc",
  "ssh-keygen -f /root/.ssh/id_ed25519",
  "curl -s http://192.0.2.1/x.sh",
  "mysql -u root -p shop",
  "openssl req -newkey rsa:2048 -keyout key.pem",
  "echo $PASSWORD",
  "curl -u $USER:$TOKEN https://x.example",
  "tar czf /tmp/keys.tgz /root/.ssh",
  "python3 -c 'import pty;pty.spawn(\"/bin/sh\")'",
  "gpg --batch --passphrase-fd 0 -d x.gpg",
  "git config credential.helper store",
  "systemd-tmpfiles --create",
])("left alone: %s", (line) => {
  expect(masked(line.split(" ")).join(" ")).toBe(line);
  expect(masked(["sh", "-c", line])[2]).toBe(line);
});

test("the same secret has the same mark wherever it stands, another one another, and another device's key gives another mark", () => {
  const marks = (argv: readonly string[], of: Uint8Array) => {
    const event = { type: "process.exec", body: { process: { argv: [...argv] } } } as unknown as SensorEvent;
    const { body } = createMask({ key: of, names: [], patterns: [] })(event);
    return "process" in body ? body.process!.argv.join(" ").match(/<masked:\w+>/g) : [];
  };
  const [first, second, other] = marks(["app", "--password=hunter2", "--token", "hunter2", "--secret=hunter3"], key)!;
  expect(first).toBe(second);
  expect(other).not.toBe(first);
  expect(marks(["app", "--password=hunter2"], Buffer.from("another"))![0]).not.toBe(first);
});

test("more names and patterns, as an operator configures them", () => {
  const by = createMask({ key, names: ["--pin", "MY_CODE"], patterns: ["badge-(\\d+)", "zz\\w+"] });
  expect(masked(["app", "--pin", "1234", "MY_CODE=5678", "badge-99", "zzz"], by)).toEqual([
    "app",
    "--pin",
    MARK,
    `MY_CODE=${MARK}`,
    `badge-${MARK}`,
    MARK,
  ]);
  expect(() => createMask({ key, names: [], patterns: ["("] })).toThrow(/parenthes|missing/i);
});

test("parents, ancestors, sudo and log lines are masked as well", () => {
  const argv = () => ["mysql", `-p${SECRET}`];
  const process = { pid: 1, startTicks: 1, ppid: 0, uid: 0, exe: "/bin/x", argv: argv() };
  const events = [
    {
      type: "process.exec",
      body: { process: { ...process, parent: { pid: 1, exe: "x", argv: argv() }, ancestors: [{ pid: 1, exe: "x", argv: argv() }] } },
    },
    { type: "auth.sudo", body: { user: "bob", command: `/usr/bin/mysql -p${SECRET}`, ok: true } },
    { type: "log.line", body: { source: "app", message: `login with password=${SECRET} failed` } },
    { type: "host.inventory", body: { table: "processes", op: "added", row: { cmdline: `mysql -p${SECRET}`, pid: 1 } } },
  ] as unknown as SensorEvent[];
  for (const event of events) {
    const text = JSON.stringify(mask(event));
    expect(text).not.toContain(SECRET);
    expect(text).toContain("<masked:");
  }
});

test("the event itself keeps what it says, for its parts are those of other events, which are masked the same", () => {
  const parent = { pid: 1, exe: "/bin/sh", argv: ["sh", "-c", `mysql -p${SECRET}`] };
  const process = { pid: 2, startTicks: 1, ppid: 1, uid: 0, exe: "/bin/x", argv: ["x"], parent, ancestors: [parent] };
  const event = (pid: number) => ({ type: "process.exec", body: { process: { ...process, pid } } }) as unknown as SensorEvent;
  const [first, second] = [event(2), event(3)];
  const before = JSON.stringify(first);
  const [one, two] = [mask(first), mask(second)].map(({ body }) => ("process" in body ? body.process : undefined));
  expect(JSON.stringify(first)).toBe(before);
  expect(one?.parent?.argv?.[2]).toMatch(/^mysql -p<masked:/);
  expect(two).toEqual({ ...one, pid: 3 });
  expect(one?.ancestors?.[0]).toEqual(one?.parent);
});

test("masking twice changes nothing, any text is taken, and the number of arguments stays", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.string({ maxLength: 60 }),
          fc.constantFrom("--password", "-p", "mysql", "token=", "a:b@", "https://a:b@c", "'", '"', ";"),
        ),
        { maxLength: 12 },
      ),
      (argv) => {
        const once = masked(argv.length > 0 ? argv : ["x"]);
        expect(once).toHaveLength(Math.max(1, argv.length));
      },
    ),
  );
});

test("a text made to be slow is not", () => {
  const hostile = [
    `${"a=".repeat(2000)}`,
    `${"https://".repeat(500)}`,
    `"${"password".repeat(500)}`,
    `${"cookie: ".repeat(500)}`,
    `eyJ${"a".repeat(4000)}.`,
  ];
  for (const text of hostile) expect(masked(["sh", "-c", text])).toHaveLength(3);
});
