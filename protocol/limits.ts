// How much an event may hold. Apart from the schemas, so that a device that only makes events need not build them.

/** Longest path or single argument kept, in UTF-16 units. The BPF side copies at most this many bytes. */
export const MAX_TEXT = 4096;
/** Arguments the kernel side copies; more sets `argvTruncated`. */
export const MAX_ARGS = 32;
