// Generated from rules/builtin/**.yml by `bun rules/gen.ts`. Do not edit.
export const builtinFiles: readonly { readonly file: string; readonly text: string }[] = [

];
