// By what a site knows a canary: the agent starts a program now and then whose last argument is a fresh file in a folder of this name.
export const CANARY_FOLDER = "picket-canary-";

const path = new RegExp(`^/[\\w./-]{0,200}/${CANARY_FOLDER}\\w{6}/[0-9a-f]{16}$`);

/** Whether these are the arguments of a canary. A device can pretend, as it can with everything it sends: this tells of sensors and ways that fail, not of liars. */
export const isCanary = (argv: readonly string[]): boolean => path.test(argv.at(-1) ?? "");
