/**
 * Moves the bytes for one client to its `Transport`. Appending never blocks and never
 * fails; `flush` hands what waits to the socket. It owns what is in flight (handed to
 * the socket, which has yet to accept it), how long that may take, and the fibers that
 * wait for the client to read. The order of bytes is `WriteBuffer`'s, and when a client
 * is too slow is `SlowConsumer`'s to say.
 */
import { Array as Arr, type Duration, Effect, Exit, type Fiber, Latch } from "effect"
import type { Socket } from "effect/socket"
import type { Transport } from "../../net/Transport.ts"
import type { Line } from "../../protocol/LineBytes.ts"
import type { SlowConsumerCause } from "../events/CloseCause.ts"
import type { Stats } from "../events/Stats.ts"
import { wakeLater } from "../wakeLater.ts"
import type { FlushQueue } from "./FlushQueue.ts"
import type { ServerTotal } from "./ServerTotal.ts"
import { isCongested, SlowConsumer, type SlowConsumerLimits } from "./SlowConsumer.ts"
import { type Cancellable, WriteBuffer } from "./WriteBuffer.ts"

/** Bytes handed to the socket in one write: what is in flight must be read within the stall timeout. */
const WRITE_BYTES = 65_536

/** What the outboxes of a server have in common. */
export interface OutboxOptions extends SlowConsumerLimits {
  readonly total: ServerTotal
  readonly flushQueue: FlushQueue
  /** Counts the bytes that are handed to the sockets. */
  readonly stats: Pick<Stats, "bytesSent">
  /** How long the socket may take to accept one write. */
  readonly stallTimeout: Duration.Duration
  /** Milliseconds of a monotonic clock: they measure durations, and mean nothing else. */
  readonly now: () => number
  /** Runs a wait, or a timer, as a fiber. */
  readonly fork: (effect: Effect.Effect<void, Socket.SocketError>) => Fiber.Fiber<void, Socket.SocketError>
}

export class Outbox {
  readonly #options: OutboxOptions
  readonly #transport: Transport
  readonly #onSlow: (cause: SlowConsumerCause) => void
  readonly #buffer = new WriteBuffer()
  #inFlight = 0
  /** How many of the pending bytes are in the server's total. */
  #counted = 0
  #open = true
  /** Whether it is in the flush queue. */
  #queued = false
  /** None while the client is flowing. */
  #slowConsumer: SlowConsumer | undefined
  /** Opened when something has changed that fibers wait for; none while no fiber waits. */
  #change: Latch.Latch | undefined

  /** @param onSlow is called at most once, when the client is too slow; nothing more is appended then */
  constructor(options: OutboxOptions, transport: Transport, onSlow: (cause: SlowConsumerCause) => void) {
    this.#options = options
    this.#transport = transport
    this.#onSlow = onSlow
  }

  /** Bytes that wait, those in flight included. */
  get pending(): number {
    return this.#buffer.size + this.#inFlight
  }

  /** Whether others should wait until it is `writable` before they append. */
  get congested(): boolean {
    return this.#open && this.#holdLeft() > 0
  }

  /** Whether the client has yet to read what it asked for: nothing more is read from it until the outbox is `drained`. */
  get readPaused(): boolean {
    return (this.#slowConsumer !== undefined || this.#buffer.isStreaming) && this.#open
  }

  /**
   * Appends a copy of `bytes` from `start` to `end`. False if they will not be written,
   * since the client is being closed; perhaps just now, for being too slow.
   */
  append(bytes: Uint8Array, start: number, end: number): boolean {
    if (!this.#admit(end - start)) return false
    this.#buffer.append(bytes, start, end)
    return true
  }

  /** Appends a copy of the line; a cancellable one is written only if it still should be when its turn comes. */
  appendLineOf(line: Line, cancellable?: Cancellable): boolean {
    if (!this.#admit(line.length)) return false
    this.#buffer.appendLine(line, cancellable)
    return true
  }

  /** Appends `bytes` from `start` to `end` without a copy, unless they have to wait: nobody may change them any more. */
  appendShared(bytes: Uint8Array, start: number, end: number): boolean {
    if (!this.#admit(end - start)) return false
    this.#buffer.appendShared(bytes, start, end)
    return true
  }

  /** Appends a line, given without its LF. */
  appendLine(line: string): boolean {
    const bytes = Buffer.from(`${line}\n`)
    return this.append(bytes, 0, bytes.length)
  }

  /** Appends pieces that are made as the client reads them; no bound applies to them. */
  appendStream(pieces: Iterator<Uint8Array>): void {
    if (!this.#open) return
    this.#buffer.appendStream(pieces)
    this.#enqueue()
  }

  /** Hands what waits to the socket, unless the last write is still in flight. */
  flush(): void {
    this.#queued = false
    while (this.#inFlight === 0 && !this.#buffer.isEmpty) {
      const chunks = this.#buffer.take(WRITE_BYTES)
      // There are none if all lines were cancelled.
      if (Arr.isArrayNonEmpty(chunks)) this.#write(chunks)
    }
    if (this.#inFlight > 0) this.#buffer.hold()
    if (this.#slowConsumer?.hasRecovered(this.pending)) this.#slowConsumer = undefined
    this.#wake()
    this.#count()
  }

  /** Waits until the client is congested no more: because it reads, or because it has stalled. */
  get writable(): Effect.Effect<void> {
    return Effect.suspend(() =>
      Effect.timeoutOrElse(
        this.#until(() => !this.congested),
        { duration: this.#holdLeft(), orElse: () => Effect.void }
      )
    )
  }

  /** Waits until reading is not paused; without a limit, since only the client itself waits. */
  get drained(): Effect.Effect<void> {
    return this.#until(() => !this.readPaused)
  }

  /** Drops what waits, because all clients together exceed the server's total. What is in flight stays. */
  shed(): void {
    this.#slow("server total")
    this.#discard()
    this.#count()
  }

  /** Accepts nothing more. What was accepted is still written. */
  close(): void {
    this.#open = false
    this.#wake()
  }

  /** Accepts nothing more but `lastWords`; succeeds when the socket has accepted everything, or is gone. */
  finish(lastWords: string | undefined): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (lastWords !== undefined) {
        const bytes = Buffer.from(`${lastWords}\n`)
        this.#buffer.append(bytes, 0, bytes.length)
      }
      this.#open = false
      this.flush()
      return this.#until(() => this.#inFlight === 0)
    })
  }

  /** Whether so many bytes more may wait: if not, the client is too slow, or is being closed anyway. */
  #admit(length: number): boolean {
    if (!this.#open) return false
    const pending = this.pending + length
    if (isCongested(this.#options, pending)) {
      this.#slowConsumer ??= new SlowConsumer(this.#options, this.#options.now())
      const cause = this.#slowConsumer.verdict(pending)
      if (cause !== undefined) {
        this.#slow(cause)
        return false
      }
    }
    this.#enqueue()
    return true
  }

  #enqueue(): void {
    if (this.#queued) return
    this.#queued = true
    this.#options.flushQueue.add(this)
  }

  /** For how many milliseconds more others wait for the client. */
  #holdLeft(): number {
    return this.#slowConsumer === undefined ? 0 : this.#slowConsumer.holdLeft(this.#options.now())
  }

  #write(chunks: Arr.NonEmptyReadonlyArray<Uint8Array>): void {
    for (const chunk of chunks) this.#inFlight += chunk.length
    if (this.#transport.gone()) {
      this.#inFlight = 0
      this.#discard()
      return
    }
    this.#options.stats.bytesSent += this.#inFlight
    if (this.#transport.write(chunks)) {
      this.#inFlight = 0
      return
    }
    const drained = this.#options.fork(this.#transport.drained)
    const exit = drained.pollUnsafe()
    if (exit !== undefined) {
      this.#written(exit)
      return
    }
    const late = Effect.delay(
      Effect.sync(() => this.#slow("write deadline")),
      this.#options.stallTimeout
    )
    const deadline = this.#options.fork(late)
    drained.addObserver((exit) => {
      deadline.interruptUnsafe()
      this.#written(exit)
      this.flush()
    })
  }

  #written(exit: Exit.Exit<void, Socket.SocketError>): void {
    this.#inFlight = 0
    if (Exit.isFailure(exit)) this.#discard()
  }

  #count(): void {
    const change = this.pending - this.#counted
    this.#counted += change
    this.#options.total.add(change)
  }

  #until(condition: () => boolean): Effect.Effect<void> {
    const wait: Effect.Effect<void> = Effect.suspend(() => {
      if (condition()) return Effect.void
      this.#change ??= Latch.makeUnsafe(false)
      return Effect.andThen(this.#change.await, wait)
    })
    return wait
  }

  /** The fibers that wait look again. */
  #wake(): void {
    const change = this.#change
    if (change === undefined) return
    this.#change = undefined
    wakeLater(() => change.openUnsafe())
  }

  /** What was accepted is still written, if the client reads it before the connection is cut. */
  #slow(cause: SlowConsumerCause): void {
    if (!this.#open) return
    this.close()
    this.#onSlow(cause)
  }

  #discard(): void {
    this.#open = false
    this.#buffer.clear()
  }
}
