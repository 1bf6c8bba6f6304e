// Modifiers that turn a value into how it looks encoded (Sigma specification, appendix "Modifiers").

export type Encoding = "base64" | "base64offset" | "utf16le" | "utf16be" | "utf16" | "wide";
export const encodings: ReadonlySet<string> = new Set<Encoding>(["base64", "base64offset", "utf16le", "utf16be", "utf16", "wide"]);

/** Every form `text` takes after the encodings, in order. base64offset gives three: a text inside a larger one starts at any of three bit offsets. */
export function encode(text: string, chain: readonly Encoding[]): string[] {
  let forms: Buffer[] = [Buffer.from(text, "utf8")];
  let wideInput = text;
  for (const encoding of chain) {
    switch (encoding) {
      case "wide":
      case "utf16le":
        forms = [Buffer.from(wideInput, "utf16le")];
        break;
      case "utf16be":
        forms = [Buffer.from(wideInput, "utf16le").swap16()];
        break;
      case "utf16":
        forms = [Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(wideInput, "utf16le")])];
        break;
      case "base64":
        forms = forms.map((form) => Buffer.from(form.toString("base64")));
        break;
      case "base64offset":
        forms = forms.flatMap(offsets);
        break;
    }
    wideInput = forms[0]!.toString("utf8");
  }
  return forms.map((form) => form.toString("utf8"));
}

/** Only the characters that do not depend on what stands before and after. */
function offsets(bytes: Buffer): Buffer[] {
  const starts = [0, 2, 3];
  const ends = [0, 3, 2];
  return starts.map((start, shift) => {
    const text = Buffer.concat([Buffer.alloc(shift, 0x20), bytes]).toString("base64");
    return Buffer.from(text.slice(start, text.length - ends[(bytes.length + shift) % 3]!));
  });
}

const DASHES = ["-", "/", "\u2013", "\u2014", "\u2015"];
const MAX_DASHES = 4;

/** The same command line with every flag's dash written as each of the five characters Windows tools take. Undefined when there are too many flags. */
export function windash(text: string): string[] | undefined {
  const pieces = text.split(/\B[-/\u2013\u2014\u2015]\b/);
  if (pieces.length - 1 > MAX_DASHES) return undefined;
  return pieces
    .slice(1)
    .reduce<string[]>((forms, piece) => forms.flatMap((form) => DASHES.map((dash) => form + dash + piece)), [pieces[0]!]);
}
