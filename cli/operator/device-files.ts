// What a device gets besides its executable. The operator's own `picket` brings it, so that no broker has a say in it.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

// In an executable these are embedded assets, found through the import; a test runner that cannot import them falls back to the files.
const located = {
  "device.sh": () =>
    // @ts-expect-error A file asset has no types.
    import("../../install/device.sh", { with: { type: "file" } }),
  "first-boot.sh": () =>
    // @ts-expect-error A file asset has no types.
    import("../../install/first-boot.sh", { with: { type: "file" } }),
  "picket-agent.service": () =>
    // @ts-expect-error A file asset has no types.
    import("../../install/picket-agent.service", { with: { type: "file" } }),
};
export type DeviceFile = keyof typeof located;
export const deviceFiles = Object.keys(located) as DeviceFile[];

/** The text of one of them. */
export async function deviceFile(name: DeviceFile): Promise<string> {
  let path: string;
  try {
    path = ((await located[name]()) as { default: string }).default;
  } catch {
    path = fileURLToPath(new URL(`../../install/${name}`, import.meta.url));
  }
  return readFileSync(path, "utf8");
}
