/**
 * Text on its way to a reader that may be slow, stopped or gone. It owns what waits; where the bytes go is the sink's part.
 *
 * Invariants: no call blocks; text leaves in the order in which it came. `write` drops nothing while there is a reader.
 * `offer` keeps at most `MAX_WAITING` bytes waiting, and counts what it drops.
 */
import { Effect } from "effect"
import type { Sink } from "./sinks.ts"

/** How much may wait of what a command was not asked to print, such as its log. */
const MAX_WAITING = 1024 * 1024

/** Bytes that one write takes: what the kernel buffers for a pipe. */
const MAX_WRITE = 65_536

/** Nothing tells that a descriptor takes more: the first look comes soon, the later ones in longer intervals. */
const FIRST_RETRY_MS = 1
const LAST_RETRY_MS = 50

type WriteError = NodeJS.ErrnoException

export class Writer {
  readonly #open: (failed: (error: WriteError) => void) => Sink
  readonly #dropped: (lines: number) => void
  readonly #listeners = new Set<(error: WriteError, lines: number) => void>()
  readonly #drained = new Set<() => void>()
  #sink: Sink | undefined
  /** Whole lines; the first one may have lost its beginning. */
  #waiting: Array<Buffer> = []
  #bytes = 0
  /** A flush runs, or the next one has its time. */
  #flushing = false
  #lost = 0
  /** The last one that no listener got. */
  #failure: WriteError | undefined

  /** `open` is called before the first write; `dropped` says how many lines were dropped, once there is room again. */
  constructor(open: (failed: (error: WriteError) => void) => Sink, dropped: (lines: number) => void) {
    this.#open = open
    this.#dropped = dropped
  }

  get hasRoom(): boolean {
    return this.#bytes <= MAX_WAITING
  }

  write(text: string): void {
    const bytes = Buffer.from(text)
    this.#waiting.push(bytes)
    this.#bytes += bytes.length
    if (!this.#flushing) this.#flush(FIRST_RETRY_MS)
  }

  offer(text: string): void {
    if (this.hasRoom) this.write(text)
    else this.drop()
  }

  /** Counts a line that never came here, since there was no room for it. */
  drop(): void {
    this.#lost++
  }

  /** Says now what was dropped, since no later line will. */
  tellDropped(): void {
    if (this.#lost === 0) return
    const lines = this.#lost
    this.#lost = 0
    this.#dropped(lines)
  }

  /** The last failure that no listener got, if there is one. What it lost is not said again. */
  takeFailure(): WriteError | undefined {
    const failure = this.#failure
    if (failure !== undefined) this.#lost = 0
    this.#failure = undefined
    return failure
  }

  /** Waits until the reader has everything, or is gone. */
  readonly drained: Effect.Effect<void> = Effect.callback((resume) => {
    if (this.#isDrained) return resume(Effect.void)
    const done = () => resume(Effect.void)
    this.#drained.add(done)
    return Effect.sync(() => this.#drained.delete(done))
  })

  /**
   * Calls `failed` when the reader is gone, or the device fails. What waits then is dropped; `failed` counts the lines.
   * Returns a function that unregisters it.
   */
  onFailure(failed: (error: WriteError, lines: number) => void): () => void {
    this.#listeners.add(failed)
    return () => this.#listeners.delete(failed)
  }

  get #isDrained(): boolean {
    return this.#waiting.length === 0 && !this.#sink?.isBusy()
  }

  /** Writes what the sink takes. Looks again after `delay` where that is not all. */
  #flush(delay: number): void {
    this.#flushing = true
    const wrote = this.#writeAll()
    // Not after a failure: the next line would fail as well.
    if (wrote && this.#bytes <= MAX_WAITING / 2) this.tellDropped()
    if (this.#isDrained) {
      this.#flushing = false
      this.#resume()
      return
    }
    const next = wrote ? FIRST_RETRY_MS : delay
    setTimeout(() => this.#flush(Math.min(2 * next, LAST_RETRY_MS)), next)
  }

  /** Whether the sink took anything. */
  #writeAll(): boolean {
    let wrote = false
    try {
      this.#sink ??= this.#open((error) => this.#fail(error))
      while (this.#waiting.length > 0) {
        const written = this.#writePiece(this.#sink)
        if (written === 0) break
        wrote = true
      }
    } catch (error) {
      this.#fail(error as WriteError)
      return false
    }
    return wrote
  }

  #writePiece(sink: Sink): number {
    let length = 0
    let count = 0
    while (count < this.#waiting.length && length < MAX_WRITE) length += this.#waiting[count++]!.length
    const piece = count === 1 ? this.#waiting[0]! : Buffer.concat(this.#waiting.slice(0, count))
    const written = sink.write(piece)
    if (written === 0) return 0
    this.#waiting.splice(0, count, ...(written < length ? [piece.subarray(written)] : []))
    this.#bytes -= written
    return written
  }

  #fail(error: WriteError): void {
    const lines = this.#waiting.length
    this.#waiting = []
    this.#bytes = 0
    if (this.#listeners.size === 0) {
      this.#lost += lines
      this.#failure = error
    }
    for (const failed of this.#listeners) failed(error, lines)
    this.#resume()
  }

  #resume(): void {
    for (const done of this.#drained) done()
    this.#drained.clear()
  }
}
