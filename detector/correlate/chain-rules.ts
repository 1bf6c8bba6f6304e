// What each chain is called, what it weighs and what to do about it. ATT&CK 19.
import type { RuleFacts } from "../finding.ts";

/** A chain as alerts and operators know it. */
export type ChainRule = RuleFacts & {
  /** What to do, in plain words. */
  readonly todo: string;
};

type Facts = {
  readonly title: string;
  readonly score: number;
  readonly tactics: string[];
  readonly techniques: string[];
  readonly todo: string;
};

const chain = (name: string, { title, score, tactics, techniques, todo }: Facts): ChainRule => ({
  id: `picket-chain-${name}`,
  title,
  level: "high",
  attack: { tactics, techniques },
  score,
  alerts: true,
  todo,
});

export const reverseShell = chain("reverse-shell", {
  title: "Reverse shell: a shell over the network",
  score: 90,
  tactics: ["execution", "command-and-control"],
  techniques: ["T1059", "T1071"],
  todo: "Isolate the device, then see who holds the far end and what was typed.",
});
export const credentialAccess = chain("credential-access", {
  title: "Credentials read, then a program started",
  score: 75,
  tactics: ["credential-access", "execution"],
  techniques: ["T1003", "T1059"],
  todo: "Ask whether somebody maintains the device; if not, change the passwords and keys that were read.",
});
export const burst = chain("burst", {
  title: "Burst of program starts",
  score: 40,
  tactics: ["execution", "discovery"],
  techniques: ["T1059", "T1082"],
  todo: "See what started them and whether somebody is at work there.",
});
export const dropper = chain("dropper", {
  title: "A file brought from the network was run",
  score: 65,
  tactics: ["command-and-control", "execution"],
  techniques: ["T1105", "T1204.002"],
  todo: "Ask who fetched the file and why. Keep a copy, compare its sha256, and end what it started.",
});
export const miner = chain("miner", {
  title: "A mining program at work",
  score: 80,
  tactics: ["impact"],
  techniques: ["T1496.001"],
  todo: "End the process, then look for what starts it again: cron, systemd units, authorized_keys.",
});
export const webshell = chain("webshell", {
  title: "Somebody looks around through a web server",
  score: 85,
  tactics: ["initial-access", "persistence", "discovery"],
  techniques: ["T1190", "T1505.003", "T1082"],
  todo: "Read the access log around this time, look for new scripts in the web folder, and take the site off the network until you know.",
});
export const beacon = chain("persistence-beacon", {
  title: "Something was made to start by itself, then a program calls home at regular times",
  score: 70,
  tactics: ["persistence", "command-and-control"],
  techniques: ["T1543", "T1053.003", "T1071"],
  todo: "Read the file that was written and find out whom the program calls. If nobody knows it, isolate the device and remove both.",
});
export const bruteForce = chain("brute-force", {
  title: "Passwords were tried out, one fitted, and a program was started",
  score: 85,
  tactics: ["credential-access", "initial-access", "execution"],
  techniques: ["T1110", "T1078", "T1021.004"],
  todo: "End the session, lock the account or change its password, and see what was done in the session.",
});
export const logWiping = chain("log-wiping", {
  title: "Logs removed or rewritten by hand",
  score: 75,
  tactics: ["stealth", "defense-impairment"],
  techniques: ["T1685.006", "T1070.003"],
  todo: "What this device sent before is still at the site: read its last hour. Ask who was logged in.",
});
export const lateralSsh = chain("lateral-ssh", {
  title: "From this device on to others by SSH",
  score: 70,
  tactics: ["lateral-movement", "credential-access"],
  techniques: ["T1021.004", "T1552.004"],
  todo: "See who is logged in here and look at the devices that were reached. Replace the keys that were read.",
});
export const containerEscape = chain("container-escape", {
  title: "Out of a container onto the host",
  score: 90,
  tactics: ["privilege-escalation"],
  techniques: ["T1611"],
  todo: "Stop the container, then look at what ran on the host since. Take away its rights to the host's disk, sockets and /proc.",
});
export const iotBotnet = chain("iot-botnet", {
  title: "A program that came from elsewhere looks for more devices to infect",
  score: 90,
  tactics: ["discovery", "lateral-movement", "command-and-control"],
  techniques: ["T1046", "T1105", "T1110.001"],
  todo: "Isolate the device at once: it attacks others. Then change its passwords before it comes back.",
});
export const escalation = chain("escalation-persistence", {
  title: "Root gained in an unusual way, then something made to stay",
  score: 85,
  tactics: ["privilege-escalation", "persistence"],
  techniques: ["T1068", "T1543", "T1098.004"],
  todo: "Isolate the device. Look at the file that was written and update what was exploited.",
});
export const exfiltration = chain("exfiltration", {
  title: "Folders packed up, then sent away",
  score: 75,
  tactics: ["collection", "exfiltration"],
  techniques: ["T1560.001", "T1048"],
  todo: "Find out what was in the archive and who owns the far end. Treat secrets in it as known to others.",
});
export const ransomware = chain("ransomware", {
  title: "Many files renamed the same way by one process",
  score: 90,
  tactics: ["impact"],
  techniques: ["T1486"],
  todo: "Kill the process and isolate the device now, before more is lost. Do not restart it.",
});
export const impairment = chain("impairment-payload", {
  title: "A guard was stopped, then a program run that nobody put there",
  score: 80,
  tactics: ["defense-impairment", "execution"],
  techniques: ["T1685", "T1686", "T1204.002"],
  todo: "Start the firewall, the log or the agent again, and look at the program that was run.",
});
export const fileless = chain("fileless", {
  title: "A program without a file connects outwards",
  score: 85,
  tactics: ["stealth", "execution", "command-and-control"],
  techniques: ["T1620", "T1070.004", "T1071"],
  todo: "Do not restart the device: the program is only in its memory. Isolate it and collect /proc/PID/exe.",
});
