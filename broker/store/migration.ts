/**
 * Schema changes of one file in this folder, oldest first. Append only: what was released is never edited.
 * Every file that owns tables exports its list; schema.ts names them all.
 */
export type Migrations = readonly string[];
