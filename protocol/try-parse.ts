import * as z from "zod";

/**
 * As `schema.safeParse`, for what strangers send: never throws. zod compares the `length` of whatever has one, and comparing an object whose `toString` is
 * no function is a TypeError: `{"length":{"toString":1}}` where a text belongs.
 */
export function tryParse<S extends z.ZodType>(schema: S, value: unknown): z.ZodSafeParseResult<z.output<S>> {
  try {
    return schema.safeParse(value);
  } catch (error) {
    const message = `a value that cannot be checked (${error instanceof Error ? error.message : error})`;
    return { success: false, error: new z.ZodError([{ code: "custom", path: [], message, input: undefined }]) as z.ZodError<z.output<S>> };
  }
}
