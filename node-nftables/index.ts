// The public API: builders that make commands out of data, and a client that applies them. See README.md.

export * from "./client.ts";
export * from "./command.ts";
export { NftError, type NftErrorCode } from "./error.ts";
export * from "./expression.ts";
export { type Ran, type Run, type RunOptions, spawnNft } from "./run.ts";
export * from "./statement.ts";
export { address, hex, identifier, iface, port, prefix, type Word, word } from "./value.ts";
