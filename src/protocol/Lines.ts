/**
 * Where a line ends. Bytes go in as they were read, split anywhere; lines come
 * out, each a slice of what went in (copied only where it was split), together
 * with what the decoder must know of its bytes. It owns the unfinished line of
 * one connection, never more than the line limit.
 */

/** What `next` found. */
export const Next = {
  /** No further line: push more bytes. */
  More: 0,
  /** A line: `bytes` from `start` to `end`. */
  Line: 1,
  /** A line over the limit: nothing more will come out. */
  TooLong: 2
} as const
export type Next = (typeof Next)[keyof typeof Next]

const LF = 0x0a
const CR = 0x0d
const TAB = 0x09
const DEL = 0x7f

const NOTHING = new Uint8Array(0)

/** Bytes of a word, and the bits that a count of bytes is shifted by for one of words. */
const WORD_BYTES = 4
const WORD_BITS = 2

/** The highest bit of each byte of a word. */
const HIGH_BITS = 0x80808080 | 0

/** For less it does not pay to look at words. */
const MIN_WORDS_BYTES = 256

/** The first allocation for a line that was split; it doubles from there. */
const CARRY_BYTES = 256

export class Lines {
  /** The line that `next` found, without its LF and a CR before it. Valid until the next call. */
  bytes: Uint8Array = NOTHING
  start = 0
  end = 0
  /** Whether that line has a byte above 0x7F: it is to be checked for UTF-8. */
  wide = false
  /** Whether that line has a control character other than TAB: it is malformed. */
  control = false

  /** Bytes that a line has at most, its LF included. */
  limit: number
  #chunk: Uint8Array = NOTHING
  #at = 0
  /** The chunk four bytes at a time, and where in it they begin: at its first byte, or a few before; for a long one. */
  #words: Int32Array | undefined
  #wordsFrom = 0
  /** The beginning of a line whose end has not come, in the first `#carried` bytes. */
  #carry: Uint8Array | undefined
  #carried = 0
  #carryWide = false
  #carryControls = 0

  constructor(limit: number) {
    this.limit = limit
  }

  /** Takes the next bytes. What was pushed before must have been read to its end. */
  push(chunk: Uint8Array): void {
    this.#chunk = chunk
    this.#at = 0
    this.#words = undefined
    if (chunk.length < MIN_WORDS_BYTES) return
    this.#wordsFrom = chunk.byteOffset & ~(WORD_BYTES - 1)
    const words = (chunk.byteOffset + chunk.length - this.#wordsFrom) >> WORD_BITS
    this.#words = new Int32Array(chunk.buffer, this.#wordsFrom, words)
    this.#wordsFrom -= chunk.byteOffset
  }

  /**
   * Where, from `at` of the chunk on, the first byte may be that is not plain
   * (0x20 to 0x7E): four bytes are looked at together, where they are aligned. Of
   * such a word, taken less 0x20 and more 1 in each byte, some byte has its highest
   * bit set if, and only if, one of them is not plain. After "Bit Twiddling Hacks",
   * S. E. Anderson: "Determine if a word has a byte less than n".
   */
  #skipPlain(words: Int32Array, at: number): number {
    const from = this.#wordsFrom
    if (((at - from) & (WORD_BYTES - 1)) !== 0) return at
    let index = (at - from) >> WORD_BITS
    for (; index < words.length; index++) {
      const word = words[index]!
      if ((((word - 0x20202020) | word | (word + 0x01010101)) & HIGH_BITS) !== 0) break
    }
    return from + (index << WORD_BITS)
  }

  /** Finds the next line that is not empty. */
  next(): Next {
    const chunk = this.#chunk
    let start = this.#at
    let wide = this.#carryWide
    let controls = this.#carryControls
    for (let i = start; i < chunk.length; i++) {
      if (this.#words !== undefined) {
        i = this.#skipPlain(this.#words, i)
        if (i >= chunk.length) break
      }
      const byte = chunk[i]!
      if (byte >= 0x20 && byte < DEL) continue
      if (byte !== LF) {
        if (byte > DEL) wide = true
        else if (byte !== TAB) controls++
        continue
      }
      if (this.#carried + (i + 1 - start) > this.limit) return Next.TooLong
      this.#at = i + 1
      this.#take(chunk, start, i)
      if (this.end > this.start && this.bytes[this.end - 1] === CR) {
        this.end--
        controls--
      }
      if (this.end > this.start) {
        this.wide = wide
        this.control = controls > 0
        return Next.Line
      }
      start = this.#at
      wide = false
      controls = 0
    }
    if (this.#carried + (chunk.length - start) >= this.limit) return Next.TooLong
    if (start < chunk.length) this.#keep(chunk.subarray(start))
    this.#carryWide = wide
    this.#carryControls = controls
    // An idle client keeps nothing of what it said.
    this.bytes = NOTHING
    this.#chunk = NOTHING
    this.#words = undefined
    this.#at = 0
    return Next.More
  }

  /** The line ends at `end` of the chunk; its beginning may have come before. */
  #take(chunk: Uint8Array, start: number, end: number): void {
    if (this.#carry === undefined) {
      this.bytes = chunk
      this.start = start
      this.end = end
      return
    }
    this.#keep(chunk.subarray(start, end))
    this.bytes = this.#carry
    this.start = 0
    this.end = this.#carried
    this.#carry = undefined
    this.#carried = 0
    this.#carryWide = false
    this.#carryControls = 0
  }

  #keep(part: Uint8Array): void {
    const length = this.#carried + part.length
    if (this.#carry === undefined || this.#carry.length < length) {
      const grown = new Uint8Array(Math.min(this.limit, Math.max(CARRY_BYTES, 2 * length)))
      if (this.#carry !== undefined) grown.set(this.#carry.subarray(0, this.#carried))
      this.#carry = grown
    }
    this.#carry.set(part, this.#carried)
    this.#carried = length
  }
}
