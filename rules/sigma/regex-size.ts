// How large a regular expression becomes, told from its text before anything is compiled: `x{1000}` is a thousand steps, and 2 KB of them are 400,000
// steps, 180 MB, and minutes for one long command line.

type Frame = { sum: number; last: number };

/** Steps of the program that RE2 makes of it, about, and rather too many. Whether it is a regular expression at all is not asked. */
export function stepsOf(pattern: string): number {
  const stack: Frame[] = [{ sum: 0, last: 0 }];
  const take = (cost: number) => {
    const frame = stack.at(-1)!;
    frame.sum += cost;
    frame.last = cost;
  };
  for (let at = 0; at < pattern.length; ) {
    const rest = (shape: RegExp): RegExpExecArray | null => {
      shape.lastIndex = at;
      return shape.exec(pattern);
    };
    const [opens] = rest(OPENS) ?? [];
    const [atom] = opens === undefined ? (rest(ATOM) ?? []) : [];
    const times = opens === undefined && atom === undefined ? rest(TIMES) : null;
    const [lone] = times ?? [];
    if (opens !== undefined) stack.push({ sum: 0, last: 0 });
    else if (atom !== undefined) take(atom.startsWith("\\Q") ? atom.length : 1);
    else if (times) repeat(stack.at(-1)!, times[1], times[2], times[3]);
    else if (pattern[at] === ")") close(stack, take);
    else if (pattern[at] === "|") take(1);
    else if ("*+?".includes(pattern[at]!)) repeat(stack.at(-1)!, "0", ",", "1");
    else take(1);
    at += (opens ?? atom ?? lone ?? pattern[at]!).length;
  }
  while (stack.length > 1) close(stack, take);
  return stack[0]!.sum;
}

/** A group with its flags or name; what stands for one character; how often. Each tried at one place (y). */
const OPENS = /\((?:\?(?:P?<\w*>|[a-zA-Z-]*:))?(?!\?[a-zA-Z-]*\))/y;
const ATOM = /\\Q[\s\S]*?(?:\\E|$)|\\(?:[pPx]\{[^}]*\}|[\s\S])|\[\^?\]?(?:\[:\^?\w*:\]|\\[\s\S]|[^\]\\])*\]|\(\?[a-zA-Z-]*\)/y;
const TIMES = /\{(\d+)(,)?(\d*)\}/y;

/** More is not told apart. */
const MOST = 1e9;

function close(stack: Frame[], take: (cost: number) => void): void {
  if (stack.length > 1) take(stack.pop()!.sum + 2);
}

function repeat(frame: Frame, least: string | undefined, range: string | undefined, most: string | undefined): void {
  const min = Number(least);
  const max = range === undefined ? min : most ? Number(most) : min + 1;
  const cost = Math.min(MOST, min * frame.last + Math.max(0, max - min) * (frame.last + 1) + 1);
  frame.sum += cost - frame.last;
  frame.last = cost;
}
