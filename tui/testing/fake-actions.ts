import type { Actions } from "../actions.ts";
import type { KeyPress } from "../key-press.ts";

/** Actions that only write down what was asked. */
export function fakeActions(): { act: Actions; asked: string[] } {
  const asked: string[] = [];
  const act: Actions = {
    quit: () => void asked.push("quit"),
    readEvidence: (alert) => void asked.push(`evidence ${alert}`),
    readHistory: (device) => void asked.push(`history ${device}`),
    judge: (alert, decision) => void asked.push(`judge ${alert} ${JSON.stringify(decision)}`),
    judgeIncident: (incident, decision) => void asked.push(`judge incident ${incident} ${JSON.stringify(decision)}`),
    readIncident: (incident) => void asked.push(`incident ${incident}`),
    canPreview: true,
    preview: (alert, draft) => void asked.push(`preview ${alert} ${JSON.stringify(draft)}`),
    stopPreview: () => void asked.push("stop looking"),
    except: (request) => void asked.push(`except ${JSON.stringify(request)}`),
    order: (what, device, reason) => void asked.push(`${what} ${device}: ${reason}`),
    demoAttack: () => void asked.push("demo"),
    operator: "anna",
    deadManMs: 86_400_000,
  };
  return { act, asked };
}

/** Named keys in angle brackets, everything else character by character: "i<enter>". */
export function pressesOf(text: string): KeyPress[] {
  return [...text.matchAll(/<(\w+)>|(.)/gsu)].map(([, name, char]) => (name ? ({ name } as KeyPress) : ({ char: char! } as KeyPress)));
}
