/**
 * The decoder of the most frequent answer: it reads a text `RESULT#` with an exit code straight from its bytes.
 *
 * What it accepts, `textCodec.decodeClient` accepts and reads the same; a property test holds it to that. It accepts
 * only ids like the server's, and output without an escape, so that the bytes can be passed on as they are.
 */
import { Decimal } from "./Decimal.ts"

const SPACE = 0x20
const HASH = 0x23
const BACKSLASH = 0x5c

/** In lower case. */
const VERB = Buffer.from("result")

/** The difference between a letter's two cases. */
const LOWER_CASE = 0x20

const MAX_EXIT_CODE = 255

export class ResultScanner {
  id = 0
  status = 0
  /** Where the output begins, which ends with the line; the end of the line where there is none. */
  output = 0

  readonly #decimal = new Decimal()

  /**
   * Whether the bytes from `start` to `end` are such a `RESULT#`; the fields then say which. The bytes must be UTF-8
   * without control characters.
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
