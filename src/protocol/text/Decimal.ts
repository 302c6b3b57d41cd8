/** A decimal number in bytes, as the grammar has them: no sign, no leading zero. */

const ZERO = 0x30
const NINE = 0x39

/** More digits than these might not fit a number exactly: left to the Schema decoder. */
const MAX_DIGITS = 15

export class Decimal {
  /** -1 where there is no number, or not a plain one. */
  value = -1
  /** Where it ends. */
  end = 0

  /** Reads the number that begins at `start`, and ends at `end` of the bytes at the latest. */
  read(bytes: Uint8Array, start: number, end: number): void {
    let value = 0
    let at = start
    for (; at < end; at++) {
      const byte = bytes[at]!
      if (byte < ZERO || byte > NINE) break
      value = value * 10 + (byte - ZERO)
    }
    this.end = at
    const digits = at - start
    this.value = digits === 0 || digits > MAX_DIGITS || (digits > 1 && bytes[start] === ZERO) ? -1 : value
  }
}
