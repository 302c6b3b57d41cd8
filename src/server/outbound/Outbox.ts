/**
 * Moves the bytes for one client to its `Transport`. Appending never blocks and never
 * fails; `flush` writes the waiting bytes to the socket. It owns the bytes in flight
 * (written, and not yet accepted by the socket), the time that they may take, and the
 * fibers that wait for the client to read. `WriteBuffer` owns the order of the bytes, and
 * `SlowConsumer` decides when a client is too slow.
 */
import { Array as Arr, Duration, Effect, Exit, type Fiber, Latch } from "effect"
import type { Socket } from "effect/socket"
import type { Transport } from "../../net/Transport.ts"
import type { Line } from "../../protocol/LineBytes.ts"
import type { SlowConsumerCause } from "../events/CloseCause.ts"
import type { Stats } from "../events/Stats.ts"
import { deadlineIn } from "../time.ts"
import { wakeLater } from "../wakeLater.ts"
import type { FlushQueue } from "./FlushQueue.ts"
import type { ServerTotal } from "./ServerTotal.ts"
import { isCongested, SlowConsumer, type SlowConsumerLimits } from "./SlowConsumer.ts"
import { type Cancellable, WriteBuffer } from "./WriteBuffer.ts"

/** The most bytes in one write. The client must read the bytes in flight within the stall timeout. */
const WRITE_BYTES = 65_536

/** The settings and services that all outboxes of a server share. */
export interface OutboxOptions extends SlowConsumerLimits {
  readonly total: ServerTotal
  readonly flushQueue: FlushQueue
  /** Counts the bytes that are written to the sockets. */
  readonly stats: Pick<Stats, "bytesSent">
  /** How long the socket may take to accept one write. */
  readonly stallTimeout: Duration.Duration
  /** The monotonic clock, in milliseconds. */
  readonly now: () => number
  /** Runs a wait or a timer as a fiber. */
  readonly fork: (effect: Effect.Effect<void, Socket.SocketError>) => Fiber.Fiber<void, Socket.SocketError>
}

export class Outbox {
  readonly #options: OutboxOptions
  readonly #transport: Transport
  readonly #onSlow: (cause: SlowConsumerCause) => void
  readonly #buffer = new WriteBuffer()
  #inFlight = 0
  /** The number of pending bytes that `ServerTotal` counts. */
  #counted = 0
  #open = true
  /** Whether it is in the flush queue. */
  #queued = false
  /** Undefined while the client is flowing. */
  #slowConsumer: SlowConsumer | undefined
  /** Opens when something changes that fibers wait for; undefined while no fiber waits. */
  #change: Latch.Latch | undefined

  /** @param onSlow is called at most once, when the client is too slow; from then on the outbox accepts nothing */
  constructor(options: OutboxOptions, transport: Transport, onSlow: (cause: SlowConsumerCause) => void) {
    this.#options = options
    this.#transport = transport
    this.#onSlow = onSlow
  }

  /** The number of waiting bytes, those in flight included. */
  get pending(): number {
    return this.#buffer.size + this.#inFlight
  }

  /** Whether others should wait until it is `writable` before they append. */
  get congested(): boolean {
    return this.#open && this.#holdLeft() > 0
  }

  /** Whether the client has not yet read its answers: the server reads nothing from it until the outbox is `drained`. */
  get readPaused(): boolean {
    return (this.#slowConsumer !== undefined || this.#buffer.isStreaming) && this.#open
  }

  /**
   * Appends a copy of `bytes` from `start` to `end`. False: the bytes will not be written,
   * because the server is closing the client; perhaps from this moment, for being too slow.
   */
  append(bytes: Uint8Array, start: number, end: number): boolean {
    if (!this.#admit(end - start)) return false
    this.#buffer.append(bytes, start, end)
    return true
  }

  /** Appends a copy of the line. A cancellable line is written only if `cancellable` still wants it when its turn comes. */
  appendLineOf(line: Line, cancellable?: Cancellable): boolean {
    if (!this.#admit(line.length)) return false
    this.#buffer.appendLine(line, cancellable)
    return true
  }

  /** Appends `bytes` from `start` to `end`, without a copy unless they have to wait. They must not change any more. */
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

  /** Appends pieces that are made while the client reads them. They do not count for any limit. */
  appendStream(pieces: Iterator<Uint8Array>): void {
    if (!this.#open) return
    this.#buffer.appendStream(pieces)
    this.#enqueue()
  }

  /** Writes the waiting bytes to the socket, unless the last write is still in flight. */
  flush(): void {
    this.#queued = false
    while (this.#inFlight === 0 && !this.#buffer.isEmpty) {
      const chunks = this.#buffer.take(WRITE_BYTES)
      // Empty if all lines were cancelled.
      if (Arr.isArrayNonEmpty(chunks)) this.#write(chunks)
    }
    if (this.#inFlight > 0) this.#buffer.hold()
    if (this.#slowConsumer?.hasRecovered(this.pending)) this.#slowConsumer = undefined
    this.#wake()
    this.#count()
  }

  /** Waits until the client is not congested any more: it reads again, or it has stalled. */
  get writable(): Effect.Effect<void> {
    return Effect.suspend(() =>
      Effect.timeoutOrElse(
        this.#until(() => !this.congested),
        { duration: this.#holdLeft(), orElse: () => Effect.void }
      )
    )
  }

  /** Waits until reading is not paused. There is no timeout, because only the client's own session waits. */
  get drained(): Effect.Effect<void> {
    return this.#until(() => !this.readPaused)
  }

  /** Succeeds when it accepts nothing more: the server closes the client, or a write has failed. */
  get closed(): Effect.Effect<void> {
    return this.#until(() => !this.#open)
  }

  /** Drops the waiting bytes, because all clients together exceed the server's total. Bytes in flight stay. */
  shed(): void {
    this.#slow("server total")
    this.#discard()
    this.#count()
  }

  /** Accepts nothing more. Bytes that were accepted are still written. */
  close(): void {
    this.#open = false
    this.#wake()
  }

  /** Appends `lastWords` and accepts nothing more. Succeeds when the socket has accepted everything, or is gone. */
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

  /** Whether `length` more bytes may wait. If not, the client is too slow, or the server is closing it anyway. */
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

  /** For how many more milliseconds other clients wait for this one. */
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
    const late = Effect.andThen(
      deadlineIn(Duration.toMillis(this.#options.stallTimeout)),
      Effect.sync(() => this.#slow("write deadline"))
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

  /** Makes the waiting fibers check their conditions again. */
  #wake(): void {
    const change = this.#change
    if (change === undefined) return
    this.#change = undefined
    wakeLater(() => change.openUnsafe())
  }

  /** Closes the outbox. Accepted bytes are still written, if the client reads them before the connection is cut. */
  #slow(cause: SlowConsumerCause): void {
    if (!this.#open) return
    this.close()
    this.#onSlow(cause)
  }

  #discard(): void {
    this.close()
    this.#buffer.clear()
  }
}
