/** Appends to files of lines, where others may append, too, and may have left the last line without an end. */
import { fstatSync, ftruncateSync, readSync, writeSync } from "node:fs"
import { constants } from "node:os"

const LF = 0x0a

/** Appends a line to an open file of this size, in one write. It is a line of its own. Throws where it does not fit. */
export const appendLine = (file: number, size: number, line: string): void => {
  const last = Buffer.alloc(1, LF)
  if (size > 0) readSync(file, last, 0, 1, size - 1)
  const bytes = Buffer.from(`${last[0] === LF ? "" : "\n"}${line}\n`)
  const written = writeSync(file, bytes)
  if (written === bytes.length) return
  // A full disk takes a part of the line, and reports no error.
  if (fstatSync(file).size === size + written) ftruncateSync(file, size)
  throw Object.assign(new Error("no space left"), { errno: -constants.errno.ENOSPC })
}
