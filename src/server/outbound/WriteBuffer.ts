/**
 * The bytes that wait for one client. It owns their order and their memory: it gathers short
 * pieces in one buffer, refers to shared pieces, and takes the bytes of a stream when it is
 * the stream's turn. It knows no limit, clock, socket or fiber; the outbox does.
 *
 * Invariant: `take` returns the appended bytes once and in order. Only lines that were
 * cancelled before their turn are missing.
 */
import { copy, type Line, writeLine } from "../../protocol/LineBytes.ts"

/** The sizes of the smallest and the largest buffer for appended bytes. */
const MIN_BUFFER_BYTES = 256
const MAX_BUFFER_BYTES = 65_536

/** Decides about a line that may be unnecessary by the time of its turn. */
export interface Cancellable {
  /** Runs just before the line is written. False: do not write it. */
  send(): boolean
}

/** Gathered bytes that contain cancellable lines. */
class CancellableLines {
  readonly #bytes: Uint8Array
  readonly #lines: ReadonlyArray<Cancellable>
  /** The start and the end of each line. */
  readonly #bounds: ReadonlyArray<number>

  constructor(bytes: Uint8Array, lines: ReadonlyArray<Cancellable>, bounds: ReadonlyArray<number>) {
    this.#bytes = bytes
    this.#lines = lines
    this.#bounds = bounds
  }

  get length(): number {
    return this.#bytes.length
  }

  /** Adds the bytes that are still wanted to `chunks`, and returns their number. */
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

/** Shared, and never changed: most clients have no cancellable lines, and so need no arrays of their own. */
const NO_LINES: Array<Cancellable> = []
const NO_BOUNDS: Array<number> = []

export class WriteBuffer {
  #queue: Array<Uint8Array | CancellableLines | Iterator<Uint8Array>> = []
  #size = 0
  #streams = 0
  /** The buffer for appended bytes, behind the queue. */
  #gather: Uint8Array | undefined
  #gathered = 0
  /** The cancellable lines in that buffer, and the start and the end of each. */
  #lines = NO_LINES
  #bounds = NO_BOUNDS
  /** Behind that buffer: a piece of bytes that other write buffers may refer to, too. */
  #shared: Uint8Array | undefined
  #sharedStart = 0
  #sharedEnd = 0
  #held = false
  /** The number of bytes in a usual `take`. It grows at once, and shrinks by half per `take` at most. */
  #usual = 0

  /** The number of waiting bytes. The bytes of a stream do not count. */
  get size(): number {
    return this.#size
  }

  /** Whether nothing waits. */
  get isEmpty(): boolean {
    return this.#size === 0 && this.#streams === 0
  }

  /** Whether a stream waits, or has not ended. */
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

  /** Appends a copy of the line. `take` asks `cancellable` whether the line is still wanted. */
  appendLine(line: Line, cancellable?: Cancellable): void {
    const buffer = this.#room(line.length)
    const start = this.#gathered
    const end = writeLine(buffer, start, line)
    this.#gathered = end
    this.#size += end - start
    if (cancellable !== undefined) this.#addCancellable(cancellable, start, end)
  }

  /** Appends `bytes` from `start` to `end`, without a copy unless the buffer is held. They must not change any more. */
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

  /** Appends pieces that are made one by one, each at its turn, so that a long stream uses no memory. */
  appendStream(pieces: Iterator<Uint8Array>): void {
    this.#settleShared()
    this.#seal()
    this.#queue.push(pieces)
    this.#streams++
  }

  /**
   * Says that the next `take` may be far off. Until then shared bytes are copied: a short
   * piece would otherwise keep a whole buffer in memory.
   */
  hold(): void {
    this.#held = true
    this.#settleShared()
  }

  /** Removes and returns the next bytes: whole pieces, until they have `max` bytes or nothing waits. */
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

  /** Drops everything that waits. */
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

  /** A buffer with room for `length` more bytes. Short, so that the engine inlines it. */
  #room(length: number): Uint8Array {
    if (this.#shared !== undefined) this.#settleShared()
    const gather = this.#gather
    return gather !== undefined && this.#gathered + length <= gather.length ? gather : this.#newBuffer(length)
  }

  #newBuffer(length: number): Uint8Array {
    // Twice a usual `take` mostly has room for the next bytes, and one buffer costs one write.
    const usual = Math.max(2 * this.#usual, 4 * this.#gathered)
    this.#seal()
    this.#gather = Buffer.allocUnsafe(Math.max(length, Math.min(MAX_BUFFER_BYTES, Math.max(MIN_BUFFER_BYTES, usual))))
    return this.#gather
  }

  /** Moves the gathered bytes into the queue. */
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

  /** Moves the shared piece into the queue; or a copy of it into the buffer, if the write buffer is held. */
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
