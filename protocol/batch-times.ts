// When the events of a batch were caused, without parsing them: a device that was away for days sends as many as can be sent.

const KEY = '"timeMs":';
/** As many digits as are read; a number of fifteen is exact however it is added up. */
const [MOST_DIGITS, EXACT_DIGITS] = [16, 15];
const [MINUS, ZERO, NINE] = [0x2d, 0x30, 0x39];

/** The time of each line of an inflated batch, as the device's clock had it. A line that has none has that of the line before. */
export function timesOf(inflated: Buffer): number[] {
  // One byte a character: what is looked for is ASCII, and no byte of a longer UTF-8 sequence is.
  const text = inflated.toString("latin1");
  const times: number[] = [];
  let timeMs = 0;
  let key = text.indexOf(KEY);
  for (let start = 0; ; ) {
    const found = text.indexOf("\n", start);
    const end = found < 0 ? text.length : found;
    let isFirst = true;
    for (; key >= 0 && key < end; key = text.indexOf(KEY, key + 1)) {
      const step = isFirst ? numberAt(text, key + KEY.length) : undefined;
      if (step === undefined) continue;
      timeMs += step;
      isFirst = false;
    }
    times.push(timeMs);
    if (found < 0) return times;
    start = found + 1;
  }
}

/** The earliest and the latest time of an inflated batch. */
export function spanOf(inflated: Buffer): readonly [fromMs: number, toMs: number] {
  let [from, to] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const timeMs of timesOf(inflated)) {
    if (timeMs < from) from = timeMs;
    if (timeMs > to) to = timeMs;
  }
  return [from, to];
}

function numberAt(text: string, start: number): number | undefined {
  const first = text.charCodeAt(start) === MINUS ? start + 1 : start;
  let at = first;
  let value = 0;
  for (let code = text.charCodeAt(at); code >= ZERO && code <= NINE && at - first < MOST_DIGITS; code = text.charCodeAt(++at))
    value = value * 10 + (code - ZERO);
  if (at === first) return undefined;
  if (at - first > EXACT_DIGITS) return Number(text.slice(start, at));
  return first > start ? -value : value;
}
