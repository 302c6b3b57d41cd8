/**
 * The bytes that wait to be written to one client. It owns their order and how they
 * are kept: short pieces are gathered in one buffer, shared ones are referred to, and
 * a stream makes its bytes when they are taken. It knows no bound, clock, socket or
 * fiber; those are the outbox's.
 *
 * Invariant: `take` returns what was appended, in that order and once. Only lines that
 * were cancelled before their turn are missing.
 */
import { copy, type Line, writeLine } from "../../protocol/LineBytes.ts"

/** The smallest and the largest buffer that appended bytes are gathered in. */
const MIN_BUFFER_BYTES = 256
const MAX_BUFFER_BYTES = 65_536

/** What a line is for that may not be needed any more when it could be written. */
export interface Cancellable {
  /** Called when the line is about to be handed to the socket: whether it still should be. */
  send(): boolean
}

/** Gathered bytes with cancellable lines among them. */
class CancellableLines {
  readonly #bytes: Uint8Array
  readonly #lines: ReadonlyArray<Cancellable>
  /** Where each of the lines starts and ends. */
  readonly #bounds: ReadonlyArray<number>

  constructor(bytes: Uint8Array, lines: ReadonlyArray<Cancellable>, bounds: ReadonlyArray<number>) {
    this.#bytes = bytes
    this.#lines = lines
    this.#bounds = bounds
  }

  get length(): number {
    return this.#bytes.length
  }

  /** Adds to `chunks` what should still be sent; returns how many bytes that is. */
  send(chunks: Array<Uint8Array>): number {
    const bytes = this.#bytes
    const lines = this.#lines
    const bounds = this.#bounds
    let sent = bytes.length
    let from = 0
    for (let i = 0; i < lines.length; i++) {
      if (lines[i]!.send()) continue
      const start = bounds[2 * i]!
      const end = bounds[2 * i + 1]!
      if (start > from) chunks.push(bytes.subarray(from, start))
      from = end
      sent -= end - start
    }
    if (from < bytes.length) chunks.push(bytes.subarray(from))
    return sent
  }
}

/** Never added to: most clients have no cancellable lines, and so no arrays for them. */
const NO_LINES: Array<Cancellable> = []
const NO_BOUNDS: Array<number> = []

export class WriteBuffer {
  #queue: Array<Uint8Array | CancellableLines | Iterator<Uint8Array>> = []
  #size = 0
  #streams = 0
  /** Gathers what is appended, behind the queue. */
  #gather: Uint8Array | undefined
  #gathered = 0
  /** The cancellable lines in what is gathered, and where each starts and ends. */
  #lines = NO_LINES
  #bounds = NO_BOUNDS
  /** Behind what is gathered: a piece of bytes that others refer to, too. */
  #shared: Uint8Array | undefined
  #sharedStart = 0
  #sharedEnd = 0
  #held = false
  /** Bytes taken last, or half, a quarter and so on of those taken before if that is more. */
  #usual = 0

  /** Bytes that wait. A stream counts for nothing until its bytes are made. */
  get size(): number {
    return this.#size
  }

  /** Whether there is nothing to take. */
  get isEmpty(): boolean {
    return this.#size === 0 && this.#streams === 0
  }

  /** Whether a stream waits, or is not taken to its end. */
  get isStreaming(): boolean {
    return this.#streams > 0
  }

  /** Appends a copy of `bytes` from `start` to `end`. */
  append(bytes: Uint8Array, start: number, end: number): void {
    const length = end - start
    copy(bytes, start, end, this.#room(length), this.#gathered)
    this.#gathered += length
    this.#size += length
  }

  /** Appends a copy of the line; a cancellable one is asked about when it is taken. */
  appendLine(line: Line, cancellable?: Cancellable): void {
    const buffer = this.#room(line.length)
    const start = this.#gathered
    const end = writeLine(buffer, start, line)
    this.#gathered = end
    this.#size += end - start
    if (cancellable !== undefined) this.#addCancellable(cancellable, start, end)
  }

  /** Appends `bytes` from `start` to `end`, without a copy unless they are held. Nobody may change them any more. */
  appendShared(bytes: Uint8Array, start: number, end: number): void {
    this.#size += end - start
    if (this.#shared === bytes && this.#sharedEnd === start) {
      this.#sharedEnd = end
      return
    }
    this.#settleShared()
    this.#shared = bytes
    this.#sharedStart = start
    this.#sharedEnd = end
  }

  /** Appends pieces that are made one by one when it is their turn, so that many of them cost no memory. */
  appendStream(pieces: Iterator<Uint8Array>): void {
    this.#settleShared()
    this.#seal()
    this.#queue.push(pieces)
    this.#streams++
  }

  /**
   * Tells that nothing will be taken for a while. Until then shared bytes are copied:
   * otherwise a short piece would keep everything it is a piece of in memory.
   */
  hold(): void {
    this.#held = true
    this.#settleShared()
  }

  /** Removes and returns the next bytes: all, or `max` bytes and the rest of the piece that reaches them. */
  take(max: number): Array<Uint8Array> {
    this.#held = false
    this.#settleShared()
    this.#seal()
    const chunks: Array<Uint8Array> = []
    let taken = 0
    while (taken < max) {
      const first = this.#queue[0]
      if (first === undefined) break
      if (first instanceof Uint8Array) {
        this.#queue.shift()
        this.#size -= first.length
        chunks.push(first)
        taken += first.length
      } else if (first instanceof CancellableLines) {
        this.#queue.shift()
        this.#size -= first.length
        taken += first.send(chunks)
      } else {
        const next = first.next()
        if (next.done === true) {
          this.#queue.shift()
          this.#streams--
        } else {
          chunks.push(next.value)
          taken += next.value.length
        }
      }
    }
    if (taken > 0) this.#usual = Math.max(taken, this.#usual >> 1)
    return chunks
  }

  /** Drops all that waits. */
  clear(): void {
    this.#queue = []
    this.#size = 0
    this.#streams = 0
    this.#gather = undefined
    this.#gathered = 0
    this.#lines = NO_LINES
    this.#bounds = NO_BOUNDS
    this.#shared = undefined
  }

  #addCancellable(line: Cancellable, start: number, end: number): void {
    if (this.#lines === NO_LINES) {
      this.#lines = []
      this.#bounds = []
    }
    this.#lines.push(line)
    this.#bounds.push(start, end)
  }

  /** A buffer with room for so many bytes more behind what is gathered. Short, to be inlined where it is called. */
  #room(length: number): Uint8Array {
    if (this.#shared !== undefined) this.#settleShared()
    const gather = this.#gather
    return gather !== undefined && this.#gathered + length <= gather.length ? gather : this.#gatherAnew(length)
  }

  #gatherAnew(length: number): Uint8Array {
    // Twice what is usually taken mostly holds what comes next, and what is in one buffer costs one write.
    const usual = Math.max(2 * this.#usual, 4 * this.#gathered)
    this.#seal()
    this.#gather = Buffer.allocUnsafe(Math.max(length, Math.min(MAX_BUFFER_BYTES, Math.max(MIN_BUFFER_BYTES, usual))))
    return this.#gather
  }

  /** Moves what is gathered into the queue. */
  #seal(): void {
    if (this.#gather !== undefined && this.#gathered > 0) {
      const bytes = this.#gather.subarray(0, this.#gathered)
      const plain = this.#lines === NO_LINES
      this.#queue.push(plain ? bytes : new CancellableLines(bytes, this.#lines, this.#bounds))
    }
    this.#gather = undefined
    this.#gathered = 0
    this.#lines = NO_LINES
    this.#bounds = NO_BOUNDS
  }

  /** Moves the shared piece behind what is gathered: into the queue, or a copy of it into the buffer if it is held. */
  #settleShared(): void {
    const bytes = this.#shared
    if (bytes === undefined) return
    const start = this.#sharedStart
    const end = this.#sharedEnd
    this.#shared = undefined
    if (this.#held) {
      copy(bytes, start, end, this.#room(end - start), this.#gathered)
      this.#gathered += end - start
    } else {
      this.#seal()
      this.#queue.push(bytes.subarray(start, end))
    }
  }
}
