import type { Key } from "ink";

export type KeyName = "up" | "down" | "pageup" | "pagedown" | "home" | "end" | "enter" | "escape" | "tab" | "backspace";
/** One key: a named one, or a printable character. */
export type KeyPress = { readonly name: KeyName; readonly char?: undefined } | { readonly char: string; readonly name?: undefined };

const inText: Record<string, KeyName> = {
  "\r": "enter",
  "\n": "enter",
  "\t": "tab",
  "\u007F": "backspace",
  "\b": "backspace",
  "\u001B": "escape",
};

/**
 * The keys in one read of the terminal. Over a slow line several arrive at once ("jji", or a name with its Enter);
 * each must act by itself, in order, on the state the one before it left.
 */
export function keysOf(input: string, key: Key): KeyPress[] {
  const named = nameOf(key);
  if (named) return [{ name: named }];
  if (key.ctrl || key.meta) return [];
  return [...input].flatMap((char): KeyPress[] => {
    const name = inText[char];
    if (name) return [{ name }];
    return /\p{Control}/u.test(char) ? [] : [{ char }];
  });
}

function nameOf(key: Key): KeyName | undefined {
  if (key.upArrow) return "up";
  if (key.downArrow) return "down";
  if (key.pageUp) return "pageup";
  if (key.pageDown) return "pagedown";
  if (key.home) return "home";
  if (key.end) return "end";
  if (key.return) return "enter";
  if (key.escape) return "escape";
  if (key.tab) return "tab";
  if (key.backspace || key.delete) return "backspace";
  return undefined;
}
