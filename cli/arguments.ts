// Arguments that several commands take. Each is checked before anything is sent: a wrong one is a usage error (exit 2).
import { deviceId } from "@picket/protocol/names";
import { InvalidArgumentError, Option } from "commander";
import { durationText, parseDuration, parseSince } from "./duration.ts";

const checked =
  <T>(parse: (text: string) => T) =>
  (text: string): T => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
    }
  };

export const duration = checked(parseDuration);
/** An option that takes a duration; its value is in milliseconds. `--help` shows the default as it would be typed. */
export const durationOption = (flags: string, description: string, standardMs: number): Option =>
  new Option(flags, description).argParser(duration).default(standardMs, durationText(standardMs));
/** For an option that may be repeated. */
export const collect = (value: string, before: readonly string[] = []) => [...before, value];
export const since = checked((text) => parseSince(text, Date.now()));

export const device = checked((text) => {
  if (deviceId.safeParse(text).success) return text;
  throw new Error("a device's name is 1-63 of a-z, 0-9 and inner hyphens (see `picket devices`).");
});

export const technique = checked((text) => {
  const id = text.toUpperCase();
  if (/^T\d{4}(\.\d{3})?$/.test(id)) return id;
  throw new Error("an ATT&CK technique is like T1059 or T1003.008.");
});

/** A whole number from `min` to `max`. */
export const whole = (min: number, max: number) =>
  checked((text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new Error(`use a whole number from ${min} to ${max}.`);
  });
