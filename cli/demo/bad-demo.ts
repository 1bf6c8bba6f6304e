/** The demo cannot go on: `message` says what failed, `hint` what to do. */
export class BadDemo extends Error {
  override name = "BadDemo";
  readonly hint: string;
  constructor(message: string, hint: string) {
    super(message);
    this.hint = hint;
  }
}
