/**
 * Lines as bytes, made without a string for each: a head that is written for the line,
 * and the bytes behind it, copied from where they were read.
 */

const LF = 0x0a
const ZERO = 0x30

/** Bytes of the longest head of a line: verb, id, and numbers. */
const MAX_HEAD_BYTES = 256

/** Below so many bytes a loop is faster than a call. */
const SHORT_BYTES = 128

const NO_BYTES = new Uint8Array(0)

/** The head of a line, in ASCII. One of them serves for line after line. */
export class Head {
  readonly bytes = new Uint8Array(MAX_HEAD_BYTES)
  length = 0

  /** Starts over, with `text`. */
  write(text: string): this {
    this.length = 0
    return this.text(text)
  }

  text(text: string): this {
    for (let i = 0; i < text.length; i++) this.bytes[this.length++] = text.charCodeAt(i)
    return this
  }

  /** Adds a whole number that is not negative, without making a string of it. */
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

/** A line to be written: a head, and the bytes from `start` to `end` behind it. One of them serves for line after line. */
export class Line {
  readonly head = new Head()
  bytes: Uint8Array = NO_BYTES
  start = 0
  end = 0

  /** In bytes, with its LF. */
  get length(): number {
    return this.head.length + (this.end - this.start) + 1
  }
}

export const copy = (from: Uint8Array, start: number, end: number, to: Uint8Array, at: number): void => {
  if (end - start > SHORT_BYTES) to.set(from.subarray(start, end), at)
  else for (let i = start; i < end; i++) to[at++] = from[i]!
}

/** Writes the line and its LF; returns where the next one starts. */
export const writeLine = (to: Uint8Array, at: number, { bytes, end, head, start }: Line): number => {
  copy(head.bytes, 0, head.length, to, at)
  copy(bytes, start, end, to, at + head.length)
  const last = at + head.length + (end - start)
  to[last] = LF
  return last + 1
}
