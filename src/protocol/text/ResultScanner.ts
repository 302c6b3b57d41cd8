/**
 * The other specialised decoder of the hot path: it reads what executors answer
 * most, a text `RESULT#` with an exit code, straight from its bytes. It accepts a
 * part of what `textCodec.decodeClient` accepts, and reads it the same (a property test
 * holds it to that): with an id as the server makes them, and with output that is
 * escaped nowhere, so that its bytes can be passed on as they are.
 */
import { Decimal } from "./Decimal.ts"

const SPACE = 0x20
const HASH = 0x23
const BACKSLASH = 0x5c

/** In lower case. */
const VERB = Buffer.from("result")

/** The letters of either case differ by this bit. */
const LOWER_CASE = 0x20

const MAX_EXIT_CODE = 255

export class ResultScanner {
  id = 0
  status = 0
  /** Where the output begins, up to the end of the line; the end itself, where there is none. */
  output = 0

  readonly #decimal = new Decimal()

  /**
   * Whether the bytes from `start` to `end` are such a `RESULT#`; the fields then
   * tell what it says. The bytes must be UTF-8 without control characters.
   */
  scan(bytes: Uint8Array, start: number, end: number): boolean {
    for (let i = 0; i < VERB.length; i++) if ((bytes[start + i]! | LOWER_CASE) !== VERB[i]) return false
    const decimal = this.#decimal
    let at = start + VERB.length
    if (bytes[at] !== HASH) return false
    decimal.read(bytes, at + 1, end)
    this.id = decimal.value
    at = decimal.end
    if (this.id < 0 || at >= end || bytes[at] !== SPACE) return false
    decimal.read(bytes, at + 1, end)
    this.status = decimal.value
    at = decimal.end
    if (this.status < 0 || this.status > MAX_EXIT_CODE) return false
    this.output = end
    if (at === end) return true
    this.output = at + 1
    if (bytes[at] !== SPACE || this.output >= end) return false
    for (let i = this.output; i < end; i++) if (bytes[i] === BACKSLASH) return false
    return true
  }
}
