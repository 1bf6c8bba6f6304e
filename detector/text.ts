// Text that a device chose, made safe to put into a sentence. It stays data: nothing here interprets it.

/** `text` with control characters shown as U+FFFD, at most `max` UTF-16 units, "…" where it was cut. */
export function clean(text: string, max: number): string {
  const cut = text.length > max ? `${text.slice(0, max - 1)}…` : text;
  // toWellFormed: a surrogate cut in half would not survive UTF-8, and ids are made from UTF-8.
  return cut.replaceAll(/\p{Control}|\u2028|\u2029/gu, "\uFFFD").toWellFormed();
}

/** Last part of a path: "/usr/bin/curl" is "curl". */
export function baseName(path: string): string {
  const end = path.endsWith("/") ? path.length - 1 : path.length;
  return path.slice(path.lastIndexOf("/", end - 1) + 1, end);
}

/** A key that may be kept and sent: itself when short, else its hash. */
export const shortKey = (key: string, max: number): string =>
  key.length <= max ? key : `sha256:${new Bun.CryptoHasher("sha256").update(key).digest("hex")}`;
