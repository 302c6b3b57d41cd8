/**
 * Lines as bytes, without a string for each line: a head that is written for the line, and
 * bytes that are copied behind it from where they were read.
 */

const LF = 0x0a
const ZERO = 0x30

/** The most bytes in the head of a line: verb, id and numbers. */
const MAX_HEAD_BYTES = 256

/** For fewer bytes a loop is faster than a call. */
const SHORT_BYTES = 128

const NO_BYTES = new Uint8Array(0)

/** The head of a line, in ASCII. It is used again for the next line. */
export class Head {
  readonly bytes = new Uint8Array(MAX_HEAD_BYTES)
  length = 0

  /** Begins a new head with `text`. */
  write(text: string): this {
    this.length = 0
    return this.text(text)
  }

  text(text: string): this {
    for (let i = 0; i < text.length; i++) this.bytes[this.length++] = text.charCodeAt(i)
    return this
  }

  /** Adds a whole number that is not negative, without a string. */
  number(value: number): this {
    let end = this.length + 1
    for (let power = 10; value >= power; power *= 10) end++
    this.length = end
    do {
      const rest = Math.floor(value / 10)
      this.bytes[--end] = ZERO + (value - 10 * rest)
      value = rest
    } while (value > 0)
    return this
  }
}

/** A line to write: a head, and behind it `bytes` from `start` to `end`. It is used again for the next line. */
export class Line {
  readonly head = new Head()
  bytes: Uint8Array = NO_BYTES
  start = 0
  end = 0

  /** The length in bytes, with the LF. */
  get length(): number {
    return this.head.length + (this.end - this.start) + 1
  }
}

/** Copies the bytes from `start` to `end` into `to`, at `at`. */
export const copy = (from: Uint8Array, start: number, end: number, to: Uint8Array, at: number): void => {
  if (end - start > SHORT_BYTES) to.set(from.subarray(start, end), at)
  else for (let i = start; i < end; i++) to[at++] = from[i]!
}

/** Writes the line and its LF at `at`; returns where the next line starts. */
export const writeLine = (to: Uint8Array, at: number, { bytes, end, head, start }: Line): number => {
  copy(head.bytes, 0, head.length, to, at)
  copy(bytes, start, end, to, at + head.length)
  const last = at + head.length + (end - start)
  to[last] = LF
  return last + 1
}
