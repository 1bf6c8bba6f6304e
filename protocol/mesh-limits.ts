// How much sites tell each other. Apart from the schemas, so that a device, which reads the topic table, need not build them.

/** Sites an item may pass, its origin included. */
export const MAX_HOPS = 16;
/** One signed item (compact JWS), bytes. An alert that is larger leaves without its process tree. */
export const MAX_ITEM_BYTES = 128 << 10;
/** Items in one message. */
export const MAX_ITEMS = 64;
/** A message is filled up to this; one item may exceed it by its own size. */
export const FILL_BYTES = 128 << 10;
/** Largest message on a mesh topic, bytes. */
export const MAX_MESH_BYTES = FILL_BYTES + MAX_ITEM_BYTES + (64 << 10);
/** Items that may be on their way unacknowledged: how many a receiver grants at most. */
export const WINDOW = 256;
/** An item older than this (by its origin's clock) is refused: what was forgotten cannot be replayed. */
export const MAX_AGE_MS = 35 * 86_400_000;
