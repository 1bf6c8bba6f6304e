// The demo's look-alike, run from the attacker's host on the device: intruder.ts <device namespace> <own address> <name> <interpreter>
import { attack } from "../../cli/demo/attack.ts";

const [namespace = "", host = "", name = "", interpreter = ""] = process.argv.slice(2);
const onDevice = (argv: readonly string[]) => ["ip", "netns", "exec", namespace, ...argv];
const { heard } = await attack({ host, onDevice, name, interpreter, onStep: console.log });
console.log(`heard ${JSON.stringify(heard)}`);
