/**
 * The decoder of the hot path: it reads a text `EXEC` to a rank, a range or `*`, tracked or not, straight from its
 * bytes, without a string, an object or a Schema.
 *
 * What it accepts, `textCodec.decodeClient` accepts and reads the same; a property test holds it to that. What it
 * does not accept is for `decodeClient` to judge.
 */
import { ID_CHARACTER, MAX_ID_LENGTH } from "../Ids.ts"
import { Decimal } from "./Decimal.ts"

const SPACE = 0x20
const HASH = 0x23
const DASH = 0x2d
const STAR = 0x2a

/** 1 for the bytes of ids; all of them are ASCII. */
const isOfId = Uint8Array.from({ length: 256 }, (_, byte) => (ID_CHARACTER.test(String.fromCharCode(byte)) ? 1 : 0))

export class ExecScanner {
  /** Where the id of a tracked command begins and ends; equal for an untracked one. */
  idStart = 0
  idEnd = 0
  /** Whether the command is for everyone below; else it is for the ranks `first` to `last`. */
  everyone = false
  first = 0
  last = 0
  /** Whether they are written as a range, even of one. */
  range = false
  /** Where the command begins. */
  command = 0

  readonly #decimal = new Decimal()

  /**
   * Whether the bytes from `start` to `end` are such an `EXEC`; the fields then say which. The bytes must be UTF-8
   * without control characters.
   */
  scan(bytes: Uint8Array, start: number, end: number): boolean {
    // "EXEC" in either case: bit 0x20 is the difference.
    if (
      end - start < 8 ||
      (bytes[start]! | 0x20) !== 0x65 ||
      (bytes[start + 1]! | 0x20) !== 0x78 ||
      (bytes[start + 2]! | 0x20) !== 0x65 ||
      (bytes[start + 3]! | 0x20) !== 0x63
    ) {
      return false
    }
    let at = start + 4
    this.idStart = at
    this.idEnd = at
    if (bytes[at] === HASH) {
      this.idStart = ++at
      while (at < end && isOfId[bytes[at]!] === 1) at++
      this.idEnd = at
      if (this.idEnd === this.idStart || this.idEnd - this.idStart > MAX_ID_LENGTH) return false
    }
    if (bytes[at] !== SPACE) return false
    at++
    this.everyone = bytes[at] === STAR
    this.range = false
    if (this.everyone) {
      at++
    } else {
      const decimal = this.#decimal
      decimal.read(bytes, at, end)
      this.first = decimal.value
      this.last = this.first
      at = decimal.end
      if (bytes[at] === DASH) {
        this.range = true
        decimal.read(bytes, at + 1, end)
        this.last = decimal.value
        at = decimal.end
      }
      if (this.first < 0 || this.last < this.first) return false
    }
    this.command = at + 1
    return bytes[at] === SPACE && this.command < end
  }
}
