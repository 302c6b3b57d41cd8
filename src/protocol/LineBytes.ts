/**
 * Lines as bytes, made without a string for each: a beginning that is written anew,
 * and what follows it copied from where it was read; once, for however many clients.
 */

/** Bytes that lines for several clients are gathered in. */
const SHARED_BYTES = 65_536

const LF = 0x0a
const ZERO = 0x30

const NOTHING = new Uint8Array(0)

/** Bytes of the longest beginning of a line: verb, id, and numbers. */
const MAX_HEAD_BYTES = 256

/** The beginning of a line, which is ASCII; one of them can be written anew for each line. */
export class Head {
  readonly bytes = new Uint8Array(MAX_HEAD_BYTES)
  length = 0

  /** Begins anew, with `text`. */
  write(text: string): this {
    this.length = 0
    return this.text(text)
  }

  text(text: string): this {
    for (let i = 0; i < text.length; i++) this.bytes[this.length++] = text.charCodeAt(i)
    return this
  }

  /** A whole number, not negative; without a string of it. */
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

/** A line in two parts: a head that is written for it, and bytes that stay where they are; its LF is added when it is copied. */
export class Line {
  readonly head = new Head()
  bytes: Uint8Array = NOTHING
  start = 0
  end = 0

  /** Bytes of the whole line, its LF included. */
  get length(): number {
    return this.head.length + (this.end - this.start) + 1
  }
}

/** Lines for several clients: each is copied once, and every outbox that it is for keeps no more than where it stands. */
export class Shared {
  bytes = Buffer.allocUnsafe(SHARED_BYTES)
  /** Where the line that was added last begins and ends. */
  start = 0
  end = 0

  /** Adds the line that `head`, and `bytes` from `start` to `end`, make up; its end is added. */
  add(head: Head, bytes: Uint8Array, start: number, end: number): void {
    const length = head.length + (end - start) + 1
    // What is in it may still be waited for.
    if (this.end + length > this.bytes.length) {
      this.bytes = Buffer.allocUnsafe(Math.max(SHARED_BYTES, length))
      this.end = 0
    }
    this.start = this.end
    this.end = writeLine(this.bytes, this.start, head, bytes, start, end)
  }
}

/** Below so many bytes a loop is faster than a call. */
const SHORT_BYTES = 128

export const copy = (from: Uint8Array, start: number, end: number, to: Uint8Array, at: number): void => {
  if (end - start > SHORT_BYTES) to.set(from.subarray(start, end), at)
  else for (let i = start; i < end; i++) to[at++] = from[i]!
}

/** Writes a line, its end included; returns where the next may begin. */
export const writeLine = (
  to: Uint8Array,
  at: number,
  head: Head,
  bytes: Uint8Array,
  start: number,
  end: number
): number => {
  copy(head.bytes, 0, head.length, to, at)
  copy(bytes, start, end, to, at + head.length)
  const last = at + head.length + (end - start)
  to[last] = LF
  return last + 1
}
