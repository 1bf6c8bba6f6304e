// One form of text in which what rules look for can be found whatever their tests: lower case, any white space as a space, and the long s as an s.

/** ASCII, folded. White space as regular expressions have it (RE2: `\s`). */
const ascii = Uint8Array.from({ length: 128 }, (_, code) => {
  if (code === 9 || code === 10 || code === 12 || code === 13) return 32;
  return code >= 65 && code <= 90 ? code + 32 : code;
});
const LONG_S = 0x17f;

/** A UTF-16 unit of a text in lower case, or of any ASCII text, folded; 0 for what stays beyond ASCII. The long s is an s to an expression that ignores case. */
export const foldCode = (code: number): number => (code < 128 ? ascii[code]! : code === LONG_S ? 115 : 0);

const unfolded = /[\t\n\f\r\u017f]/;

/** A text in lower case, folded. */
export const fold = (lower: string): string =>
  unfolded.test(lower) ? lower.replaceAll(/[\t\n\f\r]/g, " ").replaceAll("\u017f", "s") : lower;
