// The last segment of a path (or the whole of a text without a slash) in a table: how rules name programs, files and plain values.

const SLASH = 47;

export class Segments {
  readonly #ids = new Map<number, readonly number[]>();

  /** `names` are lower-case ASCII without a slash. */
  constructor(names: ReadonlyMap<string, readonly number[]>) {
    for (const [name, ids] of names) {
      const hash = hashOf(name);
      this.#ids.set(hash, [...(this.#ids.get(hash) ?? []), ...ids]);
    }
  }

  /** Calls `found` for what follows the last slash of `text` in lower case, and now and then for something else of the same hash. */
  search(text: string, found: (ids: readonly number[]) => void): void {
    this.#look(text, found);
    if (!isAsciiEnd(text)) this.#look(text.toLowerCase(), found);
  }

  #look(text: string, found: (ids: readonly number[]) => void): void {
    const ids = this.#ids.get(hashOf(text));
    if (ids) found(ids);
  }
}

/** Read from the end, so that a long path costs no more than its name. */
function hashOf(text: string): number {
  let hash = 0;
  for (let at = text.length - 1; at >= 0; at--) {
    const code = text.charCodeAt(at);
    if (code === SLASH) break;
    hash = (Math.imul(hash, 31) + (code >= 65 && code <= 90 ? code + 32 : code) + 1) | 0;
  }
  return hash;
}

function isAsciiEnd(text: string): boolean {
  for (let at = text.length - 1; at >= 0; at--) {
    const code = text.charCodeAt(at);
    if (code === SLASH) return true;
    if (code > 127) return false;
  }
  return true;
}
