// The half of the engine that a device needs: compiled rules on events, without the parser and its YAML library.

export type { Matcher, Rule } from "./rule.ts";
export { compileRules } from "./sigma/compile.ts";
export { eventTypes } from "./sigma/fields.ts";
