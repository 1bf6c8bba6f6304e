const CSI = /(?:\u001B\[|\u009B)[0-?]*[ -/]*[@-~]/g;
// Only when it is terminated: Bun.stripANSI lets an OSC that never ends swallow, and so hide, everything after it.
const STRING = /(?:\u001B[\]PX^_]|[\u0090\u0098\u009D-\u009F])[^\u0007\u001B\u009C]*(?:\u0007|\u001B\\|\u009C)/g;
const ESCAPE = /\u001B[ -/]*[0-~]/g;
// Format characters reorder text (U+202E) or take no space (U+200B); line separators break a row.
const UNSEEN = /[\p{Control}\p{Format}\p{Surrogate}\p{Zl}\p{Zp}]/gu;
const MARKS = /(\p{Mark}{4})\p{Mark}+/gu;

/**
 * For text chosen by the process or the network we watch. Ink keeps colors and links;
 * with `ESC[8m` in its name a process would be listed but invisible.
 * What is left has no control, no direction override and no pile of combining marks: one row stays one row.
 */
export function untrusted(text: string): string {
  if (/^[ -~]*$/.test(text)) return text;
  return text.replaceAll(STRING, "").replaceAll(CSI, "").replaceAll(ESCAPE, "").replaceAll(UNSEEN, "\uFFFD").replaceAll(MARKS, "$1");
}
