// Whether two programs of Picket are too far apart to understand each other for sure.

/** How `one` differs from `other` in more than its last number; undefined when it does not, or either is no version. */
export function apart(one: string, other: string): "older" | "newer" | undefined {
  const [a, b] = [numbers(one), numbers(other)];
  if (!a || !b) return undefined;
  const difference = a[0] - b[0] || a[1] - b[1];
  if (difference === 0) return undefined;
  return difference < 0 ? "older" : "newer";
}

function numbers(version: string): [major: number, minor: number] | undefined {
  const [, major, minor] = /^(\d{1,6})\.(\d{1,6})\.\d/.exec(version) ?? [];
  return major === undefined ? undefined : [Number(major), Number(minor)];
}
