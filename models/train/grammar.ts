// A small grammar for made-up command lines: «a|b» is one of several texts, «name» one of a slot's; inside alternatives @name is a slot and \| a bar.
import type { Random } from "./random.ts";

export type Slot = (random: Random) => string;
export type Slots = Readonly<Record<string, Slot>>;

/**
 * One line of a template. A slot keeps its text for the length of the line: the pipe that is made is the pipe that is read. Throws on a slot nobody knows.
 */
export function fill(template: string, slots: Slots, random: Random): string {
  const kept = new Map<string, string>();
  const of = (name: string): string | undefined => {
    const text = kept.get(name) ?? slots[name]?.(random);
    if (text !== undefined) kept.set(name, text);
    return text;
  };
  return template.replace(/«([^»]*)»/g, (_, body: string) => {
    const choices = body.split(/(?<!\\)\|/);
    if (choices.length > 1)
      return random
        .pick(choices)
        .replaceAll("\\|", "|")
        .replace(/@(\w+)/g, (text, name: string) => of(name) ?? text);
    const text = of(body);
    if (text === undefined) throw new Error(`«${body}» in ${JSON.stringify(template)} is no slot`);
    return text;
  });
}
