// All that only a pack of rules needs, loaded when there is one: the schemas of every event take 5 MB for as long as the agent runs.
export { MAX_PACK_RULES, openRules } from "@picket/protocol/rule-pack";
export { packRoom, unpack } from "@picket/rules/packed";
export { tryRules } from "./trial.ts";
