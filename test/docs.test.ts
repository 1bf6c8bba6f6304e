// The pages a reader is sent to are there, and the first one leads to all of them.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";

const root = new URL("..", import.meta.url).pathname;
const markdown = (folder: string) => readdirSync(join(root, folder)).filter((name) => name.endsWith(".md"));
const pages = [...markdown("."), ...markdown("docs").map((name) => `docs/${name}`)];
const read = (page: string) => readFileSync(join(root, page), "utf8");

test.each(pages)("every link of %s leads to a file", (page) => {
  const links = [...read(page).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].map(([, to]) => to!);
  const own = links.filter((to) => !/^[a-z]+:/.test(to));
  expect(own.filter((to) => !existsSync(join(root, dirname(page), to)))).toEqual([]);
});

test("README leads to every page", () => {
  const readme = read("README.md");
  expect(pages.filter((page) => page !== "README.md" && !readme.includes(`](${page})`))).toEqual([]);
});

test("docs/cli.md has every command of picket", () => {
  const registered = read("cli/main.ts").matchAll(/^ {2}([a-z]+): async \(\) => \(await import/gm);
  const commands = [...registered].map(([, name]) => name!);
  expect(commands.length).toBeGreaterThan(20);
  const page = read("docs/cli.md");
  expect(commands.filter((name) => !page.includes(`picket ${name}`))).toEqual([]);
});
