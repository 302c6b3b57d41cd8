/**
 * The specialised decoder of the hot path: it reads an untracked text `EXEC` to a
 * rank, a range or `*` straight from its bytes, without a string, an object or a
 * Schema. It accepts a part of what `Text.readClient` accepts, and reads it the
 * same (a property test holds it to that); what it does not accept is for
 * `readClient` to judge.
 */

const SPACE = 0x20
const ZERO = 0x30
const NINE = 0x39
const DASH = 0x2d
const STAR = 0x2a

/** More digits than these might not fit a number exactly: left to the Schema decoder. */
const MAX_DIGITS = 15

export class ExecScanner {
  /** Whether the command is for everyone below; else it is for the ranks `first` to `last`. */
  everyone = false
  first = 0
  last = 0
  /** Where the command begins. */
  command = 0

  #at = 0

  /**
   * Whether the bytes from `start` to `end` are such an `EXEC`; the fields then
   * tell what it says. The bytes must be UTF-8 without control characters.
   */
  scan(bytes: Uint8Array, start: number, end: number): boolean {
    // The letters of "EXEC" in either case: bit 0x20 tells them apart.
    if (
      end - start < 8 ||
      (bytes[start]! | 0x20) !== 0x65 ||
      (bytes[start + 1]! | 0x20) !== 0x78 ||
      (bytes[start + 2]! | 0x20) !== 0x65 ||
      (bytes[start + 3]! | 0x20) !== 0x63 ||
      bytes[start + 4] !== SPACE
    ) {
      return false
    }
    this.#at = start + 5
    this.everyone = bytes[this.#at] === STAR
    if (this.everyone) {
      this.#at++
    } else {
      this.first = this.#decimal(bytes, end)
      this.last = this.first
      if (bytes[this.#at] === DASH) {
        this.#at++
        this.last = this.#decimal(bytes, end)
      }
      if (this.first < 0 || this.last < this.first) return false
    }
    this.command = this.#at + 1
    return bytes[this.#at] === SPACE && this.command < end
  }

  /** The decimal number here, and steps over it; -1 where there is none, or not a plain one. */
  #decimal(bytes: Uint8Array, end: number): number {
    const start = this.#at
    let value = 0
    let at = start
    for (; at < end; at++) {
      const byte = bytes[at]!
      if (byte < ZERO || byte > NINE) break
      value = value * 10 + (byte - ZERO)
    }
    this.#at = at
    const digits = at - start
    if (digits === 0 || digits > MAX_DIGITS || (digits > 1 && bytes[start] === ZERO)) return -1
    return value
  }
}
