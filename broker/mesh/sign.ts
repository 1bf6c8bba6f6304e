// Own items are signed after the transaction that made them: a signature takes its time, a transaction must not.
import type { Store } from "../store/database.ts";
import { putSignature, unsignedItems } from "../store/mesh-log.ts";
import { type Signer, signItem } from "./envelope.ts";

const AT_ONCE = 100;

/** Signs what waits for it, oldest first; on disk when it resolves. */
export async function signAll(store: Store, signer: Signer): Promise<void> {
  for (;;) {
    const open = unsignedItems(store, AT_ONCE);
    if (open.length === 0) return;
    const signatures = await Promise.all(open.map(({ content }) => signItem(signer, content)));
    await store.commitSoon(() => {
      for (const [at, item] of open.entries()) putSignature(store, item, signatures[at]!);
    });
  }
}
