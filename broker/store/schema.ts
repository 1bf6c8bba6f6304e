// Every table owner with its migrations. Its key is stored in the database: never rename one.
import type { Migrations } from "./migration.ts";

export const schema: Readonly<Record<string, Migrations>> = {};
