/** Where lines go when there is no site. */
export type Output = {
  /** Takes whole lines. */
  write(text: string): void;
  /** Bytes written and not yet taken by the reader or the disk. */
  unreadBytes(): number;
};
