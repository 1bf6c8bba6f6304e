// The one error for a request that was understood and turned down. The API shows it to the caller as RFC 9457 problem+json; any other error is a fault of ours.

/** Why, in a word; the API maps each to an HTTP status. */
export type RefusedKind = "invalid" | "unauthenticated" | "forbidden" | "not-found" | "conflict" | "too-large" | "too-many" | "unavailable";

/** `message` says what was refused and on what; `hint` says what to do. Both reach the caller: no secrets, no paths. */
export class Refused extends Error {
  override name = "Refused";
  readonly kind: RefusedKind;
  readonly hint: string | undefined;

  constructor(kind: RefusedKind, message: string, hint?: string) {
    super(message);
    this.kind = kind;
    this.hint = hint;
  }
}
