/**
 * To the start of the line so many rows above; then erases everything from there on. Never the whole screen at once: some
 * terminals would keep what was on it in their history.
 */
export const erasedFrom = (rows: number): string =>
  `${rows > 0 ? `\u001b[${rows}A` : ""}\r\u001b[2K\u001b7\u001b[B\u001b[J\u001b8`
