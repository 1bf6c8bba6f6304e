import * as z from "zod";

/** The same type, refusing keys it does not know: a misspelt filter that is ignored shows everything. */
export const strict = (type: z.ZodType): z.ZodType => (type instanceof z.ZodObject ? type.strict() : type);
