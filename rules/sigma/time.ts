// Parts of a date, as Sigma's modifiers `minute` ... `year` take them (specification, appendix "Modifiers", 2.1).

export const timeParts = ["minute", "hour", "day", "week", "month", "year"] as const;
export type TimePart = (typeof timeParts)[number];

const written = /^\s*(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d))?/;

/** The part as the text writes it, whatever its time zone: the specification converts none. Undefined where the text is no date, or has no such part. */
export function timePart(text: string, part: TimePart): number | undefined {
  const found = written.exec(text);
  if (!found) return undefined;
  const [year, month, day, hour, minute] = found.slice(1).map((digits) => (digits === undefined ? undefined : Number(digits)));
  switch (part) {
    case "minute":
      return minute;
    case "hour":
      return hour;
    case "day":
      return day;
    case "month":
      return month;
    case "year":
      return year;
    case "week":
      return weekOf(year!, month!, day!);
  }
}

const DAY_MS = 86_400_000;

/** ISO 8601: weeks start on Monday, and the first holds the year's first Thursday. */
function weekOf(year: number, month: number, day: number): number {
  const date = Date.UTC(year, month - 1, day);
  const thursday = date + (3 - ((new Date(date).getUTCDay() + 6) % 7)) * DAY_MS;
  return 1 + Math.floor((thursday - Date.UTC(new Date(thursday).getUTCFullYear(), 0, 1)) / (7 * DAY_MS));
}
