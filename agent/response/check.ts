import type { Capability } from "@picket/protocol/status";
import { type Nft, NftError } from "node-nftables";
import { isolationCommands } from "./table.ts";

/** Whether this host can isolate itself: nft is there, and the kernel takes the very rules. Changes nothing. */
export async function checkIsolation(nft: Nft): Promise<Capability> {
  const name = "isolation";
  try {
    await nft.check(isolationCommands({ addresses: ["192.0.2.1", "2001:db8::1"], mqttPort: 8883, httpsPort: 8443 }));
    return { name, level: "live", why: "the kernel accepts the isolation rules" };
  } catch (error) {
    const missing = error instanceof NftError && error.code === "missing";
    const todo = missing ? "install the package nftables" : "run as root with nf_tables in the kernel (modprobe nf_tables)";
    return { name, level: "off", why: (error instanceof Error ? error.message : String(error)).slice(0, 512), todo };
  }
}
