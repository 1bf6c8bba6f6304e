import type { Alert } from "@picket/protocol/alert";
import type { Device } from "@picket/protocol/rest";
import { isDark, isolationOf } from "./words.ts";

// What an attacker gained, by technique, and so what isolation alone does not undo. Keys are ATT&CK technique ids without sub-technique.
const byTechnique: Record<string, string> = {
  T1003: "Treat the credentials in the files it read as known to the attacker: change them, also where they were used again.",
  T1027: "Read the full command (w) before you trust it: the encoding is there to hide something.",
  T1053: "Look for what it scheduled (crontabs, systemd timers) on the device; it would come back after a reboot.",
  T1059: "Find what started the shell: the parent in the tree is what was broken into.",
  T1071: "Note the address it talked to and look for it on other devices: picket events --type net.connect",
  T1105: "Keep the downloaded file for analysis before anyone cleans up.",
  T1543: "Look for new services on the device; they start again at boot.",
  T1548: "Assume root on the device. Rebuild it rather than clean it.",
  T1552: "Change the keys and passwords that lay in the files it read.",
};

/** What to do about an alert, most urgent first, in plain sentences. */
export function advice(alert: Alert, device: Device | undefined): string[] {
  const steps: string[] = [];
  if (alert.rule.engine === "broker")
    return [
      "This is about the watching itself: see the device's page for what is off, lost or silent.",
      ...(device && isDark(device)
        ? ["The device cannot be seen now: check its power and network, then its agent (systemctl status picket-agent)."]
        : []),
    ];
  const isolation = device ? isolationOf(device) : "no";
  const urgent = alert.severity === "critical" || alert.severity === "high";
  if (isolation === "isolated") steps.push("The device is isolated. Investigate, then release it with r.");
  else if (isolation === "isolating") steps.push("Isolation is ordered and not confirmed yet.");
  else if (urgent && alert.status !== "closed")
    steps.push("If nobody expected this, isolate the device now with i; it keeps its line to the site.");
  for (const technique of new Set(alert.attack.techniques.map((id) => id.split(".", 1)[0]!))) {
    const step = byTechnique[technique];
    if (step) steps.push(step);
  }
  if (alert.status === "open") steps.push("If it is known and harmless, note why with n and close it with c.");
  return steps;
}
