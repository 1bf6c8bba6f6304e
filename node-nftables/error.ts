/**
 * Why a call failed.
 * - `bad-input`: a value was refused here, before nft saw anything
 * - `missing`: nft (or `ip`, for a namespace) could not be started
 * - `rejected`: nft or the kernel said no; nothing of the transaction was applied
 * - `timeout`: nft did not end in time and was killed; whether the transaction was applied is unknown
 * - `bad-output`: nft answered something that is not the JSON of libnftables-json(5)
 */
export type NftErrorCode = "bad-input" | "missing" | "rejected" | "timeout" | "bad-output";

/** The one error of this package. `message` ends with nft's own words where there are any. */
export class NftError extends Error {
  override name = "NftError";
  readonly code: NftErrorCode;

  constructor(code: NftErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** For values from outside: refused here, because nft would read more into them than their author meant. */
export const badInput = (message: string) => new NftError("bad-input", message);
