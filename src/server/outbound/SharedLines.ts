/**
 * Lines for several clients. A line is written here once, and the write buffer of each
 * client refers to it. Invariant: bytes that were written never change.
 */
import { type Line, writeLine } from "../../protocol/LineBytes.ts"

/** The size of a buffer that lines are gathered in. */
const SHARED_BYTES = 65_536

export class SharedLines {
  bytes = Buffer.allocUnsafe(SHARED_BYTES)
  /** The start and the end of the line that was added last. */
  start = 0
  end = 0

  add(line: Line): void {
    // Never the old buffer again: its bytes may still wait for clients.
    if (this.end + line.length > this.bytes.length) {
      this.bytes = Buffer.allocUnsafe(Math.max(SHARED_BYTES, line.length))
      this.end = 0
    }
    this.start = this.end
    this.end = writeLine(this.bytes, this.start, line)
  }
}
