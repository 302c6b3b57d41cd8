/**
 * Lines for several clients: each is written here once, and the write buffer of each
 * client keeps only where it starts and ends. Bytes that were written never change.
 */
import { type Line, writeLine } from "../../protocol/LineBytes.ts"

/** Bytes that lines are gathered in. */
const SHARED_BYTES = 65_536

export class SharedLines {
  bytes = Buffer.allocUnsafe(SHARED_BYTES)
  /** Where the line that was added last starts and ends. */
  start = 0
  end = 0

  add(line: Line): void {
    // A new buffer, not the old one again: clients may still wait for what is in it.
    if (this.end + line.length > this.bytes.length) {
      this.bytes = Buffer.allocUnsafe(Math.max(SHARED_BYTES, line.length))
      this.end = 0
    }
    this.start = this.end
    this.end = writeLine(this.bytes, this.start, line)
  }
}
