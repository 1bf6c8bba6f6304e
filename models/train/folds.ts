// Folds by group: near-duplicates are never on both sides.

/** A fold number in [0, `folds`) for each item; items of one group share it. Large groups are placed first, each where there is most room. */
export function foldsByGroup(groups: readonly string[], folds: number): number[] {
  const sizes = new Map<string, number>();
  for (const group of groups) sizes.set(group, (sizes.get(group) ?? 0) + 1);
  const room = Array.from({ length: folds }, () => 0);
  const foldOf = new Map<string, number>();
  for (const [group, size] of [...sizes].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))) {
    const fold = room.indexOf(Math.min(...room));
    foldOf.set(group, fold);
    room[fold]! += size;
  }
  return groups.map((group) => foldOf.get(group)!);
}
