// Attacks in disguise: the same line as somebody would write it who knows that lines are read. Made without chance, so that a run can be repeated.

export type Evasion = (line: string) => string;

const harmless = ["cd /srv/app && ls -la", "date", "git status", "mkdir -p build", "echo done"];

export const evasions: Readonly<Record<string, Evasion>> = {
  "quotes inside words": (line) => line.replace(/(?<![\w'"$\\/=-])([a-z]{2,3})([a-z]{1,12})(?=[\s;|]|$)/g, "$1''$2"),
  backslashes: (line) => line.replace(/(?<![\w'"$\\/=-])([a-z])([a-z]{1,12})(?=[\s;|]|$)/g, "$1\\$2"),
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell expands it, not we.
  "${IFS} for spaces": (line) => line.replace(/ /g, "${IFS}"),
  "base64, decoded into a shell": (line) => `echo ${Buffer.from(line).toString("base64")} | base64 -d | sh`,
  "base64, evaluated": (line) => `eval "$(base64 -d <<< ${Buffer.from(line).toString("base64")})"`,
  "hexadecimal through xxd": (line) => `echo ${Buffer.from(line).toString("hex")} | xxd -r -p | bash`,
  "harmless commands before": (line) => `${harmless.slice(0, 3).join("; ")}; ${line}`,
  "harmless commands after": (line) => `${line}; ${harmless.slice(2).join("; ")}`,
  "program copied under another name": (line) => line.replace(/^((?:sudo\s+|\w+=\S+\s+)*)([a-z][\w.-]*)(?=\s)/, "$1/var/tmp/.x/kworker"),
  "sudo, whole paths, more spaces": (line) => line.replace(/^([a-z][\w.-]*)(?=\s)/, "sudo /usr/bin/$1").replace(/ /g, "  "),
};
