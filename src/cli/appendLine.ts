/** Appends to files of lines, where others may append, too, and may have left the last line without an end. */
import { readSync, writeSync } from "node:fs"

const LF = 0x0a

/** Appends a line to an open file of this size, in one write. It is a line of its own. */
export const appendLine = (file: number, size: number, line: string): void => {
  const last = Buffer.alloc(1, LF)
  if (size > 0) readSync(file, last, 0, 1, size - 1)
  writeSync(file, `${last[0] === LF ? "" : "\n"}${line}\n`)
}
