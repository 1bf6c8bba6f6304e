// JSON escapes C0 controls and nothing else; C1 controls are escape sequences to a terminal, and bidirectional ones reorder what is read.
const unsafe = /[\u007F-\u009F\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/g;

/** `value` as one line of JSON that can be looked at in a terminal. It parses back to the same value. */
export function jsonLine(value: unknown): string {
  return `${JSON.stringify(value).replaceAll(unsafe, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)}\n`;
}
