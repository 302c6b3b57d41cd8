/**
 * Cuts bytes into lines. Chunks of bytes come in, split anywhere. Lines come out, each a slice of a chunk; only a line
 * that was split is copied. It also finds out what the decoder must know about a line. It owns the unfinished line of
 * one connection, which is never longer than the line limit.
 */

/** The smallest line limit of a server: a client that does not know the limit may send lines of this size. */
export const MIN_LINE_BYTES = 512

/** The outcome of `next`. */
export const Next = {
  /** No complete line is left: push more bytes. */
  More: 0,
  /** A line: `bytes` from `start` to `end`. */
  Line: 1,
  /** The line is over the limit: no further line comes out. */
  TooLong: 2
} as const
export type Next = (typeof Next)[keyof typeof Next]

const LF = 0x0a
const CR = 0x0d
const TAB = 0x09
const DEL = 0x7f

/** U+0080 to U+009F, the control characters above DEL, are C2 80 to C2 9F in UTF-8. */
const C1_LEAD = 0xc2
const endsC1 = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x80 && byte <= 0x9f

const NOTHING = new Uint8Array(0)

/** Bytes of a word, and its binary logarithm. */
const WORD_BYTES = 4
const WORD_BITS = 2

/** The highest bit of each byte of a word. */
const HIGH_BITS = 0x80808080 | 0

/** In shorter chunks, reading words costs more than it saves. */
const MIN_WORDS_BYTES = 256

/** The first allocation for a line that was split; it grows by doubling. */
const CARRY_BYTES = 256

export class Lines {
  /** The line that `next` found: `bytes` from `start` to `end`, without its LF or CR LF. Valid until the next call. */
  bytes: Uint8Array = NOTHING
  start = 0
  end = 0
  /** Whether it has a byte above 0x7F, so that it may be invalid UTF-8. */
  wide = false
  /** Whether it has a control character other than TAB, if it is UTF-8. */
  control = false

  /** The most bytes in a line, with its LF. */
  limit: number
  #chunk: Uint8Array = NOTHING
  #at = 0
  /** A long chunk as words, and the position of the first word: that of the first byte, or a few bytes before it. */
  #words: Int32Array | undefined
  #wordsFrom = 0
  /** The beginning of an unfinished line, in the first `#carried` bytes. */
  #carry: Uint8Array | undefined
  #carried = 0
  #carryWide = false
  #carryControls = 0

  constructor(limit: number) {
    this.limit = limit
  }

  /** Adds the next chunk. `next` must have returned `More` for the chunk before. */
  push(chunk: Uint8Array): void {
    this.#chunk = chunk
    this.#at = 0
    this.#words = undefined
    if (this.#carry?.[this.#carried - 1] === C1_LEAD && endsC1(chunk[0])) this.#carryControls++
    if (chunk.length < MIN_WORDS_BYTES) return
    this.#wordsFrom = chunk.byteOffset & ~(WORD_BYTES - 1)
    const words = (chunk.byteOffset + chunk.length - this.#wordsFrom) >> WORD_BITS
    this.#words = new Int32Array(chunk.buffer, this.#wordsFrom, words)
    this.#wordsFrom -= chunk.byteOffset
  }

  /**
   * Skips words of four plain bytes (0x20 to 0x7E), if `at` is aligned. Subtract 0x20 from each byte of
   * a word, or add 1: the highest bit of some byte is set if and only if a byte is not plain. After S. E. Anderson,
   * "Bit Twiddling Hacks": "Determine if a word has a byte less than n".
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
        if (byte > DEL) {
          wide = true
          if (byte === C1_LEAD && endsC1(chunk[i + 1])) controls++
        } else if (byte !== TAB) controls++
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
    // An idle client keeps no chunk in memory.
    this.bytes = NOTHING
    this.#chunk = NOTHING
    this.#words = undefined
    this.#at = 0
    return Next.More
  }

  /** Up to `count` bytes of the line that is not complete, or too long, after `next` has found no other. */
  beginning(count: number): Uint8Array {
    const carried = this.#carry?.subarray(0, Math.min(count, this.#carried)) ?? NOTHING
    return Buffer.concat([carried, this.#chunk.subarray(this.#at, this.#at + count - carried.length)])
  }

  /** Sets the line that ends at `end` of the chunk; its beginning may be in the carry. */
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
