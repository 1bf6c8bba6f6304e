/**
 * This host cannot provide something Picket would use. Not a bug and not fatal: the capability is reported as off
 * (or degraded), with `message` as the reason and `todo` as what the owner of the device can do about it.
 */
export class Unsupported extends Error {
  override name = "Unsupported";
  readonly todo: string | undefined;

  constructor(message: string, todo?: string) {
    super(message);
    this.todo = todo;
  }
}
