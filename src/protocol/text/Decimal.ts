/** Reads decimal numbers from bytes, by the grammar: no sign, no leading zero. */

const ZERO = 0x30
const NINE = 0x39

/** With more digits a number may not be exact: that is left to the Schema decoder. */
const MAX_DIGITS = 15

export class Decimal {
  /** The number; -1 where there is none. */
  value = -1
  /** Where its digits end. */
  end = 0

  /** Reads the number that begins at `start` and ends before `end`. */
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
