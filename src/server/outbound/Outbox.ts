/**
 * What waits to be written to one client. Appending never blocks and never
 * fails; `flush` hands the bytes to the socket, and while the client does not
 * read they wait here, up to a bound. It owns the bound, and the three states a
 * client's reading can be in:
 *
 * - *flowing*: little waits;
 * - *congested*: half of the bound waits. Whoever would add more waits for
 *   `relief` first, which is how a slow reader slows its issuers down, TCP's way;
 * - *stalled*: congested for longer than `maxHold`. Nobody waits any more; the
 *   rest of the bound fills, and then the client is a slow consumer.
 *
 * Resuming a fiber runs it there and then. Appending happens in the middle of
 * another client's batch, so whoever waits here is woken in a microtask, after it.
 */

import { Array as Arr, Duration, Effect, Exit, type Fiber } from "effect"
import type { Socket } from "effect/socket"
import type { Transport } from "../../net/Transport.ts"
import { copy, type Head, writeLine } from "../../protocol/LineBytes.ts"

/** Bytes handed to the socket in one write: what is in flight must be read within the stall timeout. */
const WRITE_BYTES = 65_536

/** The smallest and the largest buffer that appended bytes are gathered in. */
const MIN_BUFFER_BYTES = 256
const MAX_BUFFER_BYTES = 65_536

/** Outboxes that have something to be flushed. Whoever appends flushes them all, once, when its batch is done. */
export class Touched {
  readonly #outboxes: Array<Outbox> = []

  add(outbox: Outbox): void {
    this.#outboxes.push(outbox)
  }

  flush(): void {
    for (const outbox of this.#outboxes.splice(0)) outbox.flush()
  }
}

/** What a line is for that may not be wanted any more when it could be written. */
export interface Claim {
  /** Called when the line is about to be handed to the socket: whether it still should be. */
  readonly hand: () => boolean
}

/** Bytes, some lines of which are asked for before they are written. */
interface Claimed {
  readonly bytes: Uint8Array
  readonly claims: ReadonlyArray<Claim>
  /** Where the line of each claim begins and ends. */
  readonly bounds: ReadonlyArray<number>
}

/** Never added to: an idle client has no arrays of its own. */
const NO_CLAIMS: Array<Claim> = []
const NO_BOUNDS: Array<number> = []

/** What waits for all clients together, in bytes, as of when each was last flushed. */
export interface Total {
  bytes: number
}

/** What the outboxes of a server have in common. */
export interface OutboxOptions {
  readonly total: Total
  /** Called when more waits for all together than may. */
  readonly onOverfull: () => void
  readonly maxTotalPending: number
  readonly touched: Touched
  readonly maxPending: number
  readonly maxHold: Duration.Duration
  readonly stallTimeout: Duration.Duration
  /** The time, in milliseconds. */
  readonly now: () => number
  /** Runs a wait, or a timer, as a fiber. */
  readonly fork: (effect: Effect.Effect<void, Socket.SocketError>) => Fiber.Fiber<void, Socket.SocketError>
}

export class Outbox {
  readonly #options: OutboxOptions
  readonly #transport: Transport
  readonly #onSlow: () => void

  /** Bytes, lines that may not be wanted any more, and listings that make their bytes when it is their turn; in order. */
  #queue: Array<Uint8Array | Claimed | Iterator<Uint8Array>> = []
  #queuedBytes = 0
  /** Gathers what is appended, behind the queue. */
  #buffer: Uint8Array | undefined
  #buffered = 0
  #claims = NO_CLAIMS
  #bounds = NO_BOUNDS
  /** Behind what was gathered: a piece of bytes that others have, too. */
  #sharedBytes: Uint8Array | undefined
  #sharedStart = 0
  #sharedEnd = 0
  /** Bytes of the last write, or half, a quarter and so on of those before where they were more. */
  #usuallyWritten = 0
  #listings = 0

  #inFlight = 0
  /** What of this is in the total. */
  #counted = 0
  #stallTimer: Fiber.Fiber<void, Socket.SocketError> | undefined
  #open = true
  #touched = false
  /** Since when more waits than should; in milliseconds. */
  #congestedSince: number | undefined
  /** Those who are to look again when something has changed; most of the time there are none. */
  #waiting: Set<() => void> | undefined

  /** @param onSlow is called, at most once, when the client is found to be a slow consumer: nothing is appended from then on */
  constructor(options: OutboxOptions, transport: Transport, onSlow: () => void) {
    this.#options = options
    this.#transport = transport
    this.#onSlow = onSlow
  }

  /** Bytes that wait, those handed to the socket and not yet taken by it included. */
  get pending(): number {
    return this.#queuedBytes + this.#buffered + (this.#sharedEnd - this.#sharedStart) + this.#inFlight
  }

  /** Whether others should wait for `relief` before they append. */
  get congested(): boolean {
    return this.#open && this.#holdLeft() > 0
  }

  /** Whether the client has yet to read what it asked for; it should wait for `caughtUp` before it asks for more. */
  get behind(): boolean {
    return (this.#congestedSince !== undefined || this.#listings > 0) && this.#open
  }

  /**
   * Appends a copy of `bytes` from `start` to `end`. False where they will not be
   * written: the client is being closed, for this one line too many perhaps.
   */
  append(bytes: Uint8Array, start: number, end: number): boolean {
    const length = end - start
    if (!this.#admit(length)) return false
    const buffer = this.#room(length)
    copy(bytes, start, end, buffer, this.#buffered)
    this.#buffered += length
    this.#appended()
    return true
  }

  /**
   * Appends the line that `head`, and `bytes` from `start` to `end`, make up; its
   * end is added. With a claim it is written only if that is still held then.
   */
  appendLineOf(head: Head, bytes: Uint8Array, start: number, end: number, claim?: Claim): boolean {
    const length = head.length + (end - start) + 1
    if (!this.#admit(length)) return false
    const buffer = this.#room(length)
    const from = this.#buffered
    this.#buffered = writeLine(buffer, from, head, bytes, start, end)
    if (claim !== undefined) {
      if (this.#claims === NO_CLAIMS) {
        this.#claims = []
        this.#bounds = []
      }
      this.#claims.push(claim)
      this.#bounds.push(from, this.#buffered)
    }
    this.#appended()
    return true
  }

  /** Appends `bytes` from `start` to `end` without a copy, unless they have to wait: nobody may change them any more. */
  appendShared(bytes: Uint8Array, start: number, end: number): boolean {
    if (!this.#admit(end - start)) return false
    if (this.#sharedBytes === bytes && this.#sharedEnd === start) {
      this.#sharedEnd = end
    } else {
      this.#settleShared()
      this.#sharedBytes = bytes
      this.#sharedStart = start
      this.#sharedEnd = end
    }
    this.#appended()
    return true
  }

  /** Appends a line; its end is added. */
  appendLine(line: string): boolean {
    const bytes = Buffer.from(`${line}\n`)
    return this.append(bytes, 0, bytes.length)
  }

  /** Appends a listing: its bytes are made as the client reads them, so that a long one costs no memory. */
  appendListing(listing: Iterator<Uint8Array>): void {
    if (!this.#open) return
    this.#sealAll()
    this.#queue.push(listing)
    this.#listings++
    this.#touch()
  }

  /** Hands what waits to the socket, unless it has not taken the last write yet. */
  flush(): void {
    this.#touched = false
    // This client may not read for a while.
    if (this.#inFlight > 0) this.#settleShared()
    const transport = this.#transport
    while (this.#inFlight === 0) {
      const chunks = this.#take()
      if (!Arr.isArrayNonEmpty(chunks)) break
      if (transport.gone()) {
        this.#inFlight = 0
        this.#discard()
        break
      }
      if (transport.write(chunks)) {
        this.#inFlight = 0
        continue
      }
      const drained = this.#options.fork(transport.drained)
      const exit = drained.pollUnsafe()
      if (exit === undefined) {
        this.#stallTimer = this.#options.fork(
          Effect.delay(
            Effect.sync(() => this.#slow()),
            this.#options.stallTimeout
          )
        )
        drained.addObserver((exit) => this.#written(exit))
      } else {
        this.#written(exit)
      }
    }
    if (this.pending <= this.#options.maxPending / 4) this.#congestedSince = undefined
    this.#wake()
    this.#count()
  }

  #count(): void {
    const { maxTotalPending, onOverfull, total } = this.#options
    const more = this.pending - this.#counted
    this.#counted += more
    total.bytes += more
    if (more > 0 && total.bytes > maxTotalPending) onOverfull()
  }

  /** Gives up what waits: it costs others too much. What is in flight stays, until the connection is cut. */
  shed(): void {
    this.#slow()
    this.#discard()
    this.#count()
  }

  /** Waits until the client is congested no more, be it that it reads or that it has stalled. */
  get relief(): Effect.Effect<void> {
    return Effect.suspend(() =>
      Effect.timeoutOrElse(
        this.#until(() => !this.congested),
        { duration: this.#holdLeft(), orElse: () => Effect.void }
      )
    )
  }

  /** Waits until the client is not behind; without a limit, for only the client itself waits. */
  get caughtUp(): Effect.Effect<void> {
    return this.#until(() => !this.behind)
  }

  /** Takes nothing more. What was accepted is still written. */
  close(): void {
    this.#open = false
    this.#wake()
  }

  /** Takes nothing more but `lastWords`; succeeds when the socket has taken all, or is gone. */
  finish(lastWords: string | undefined): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (lastWords !== undefined) {
        this.#sealAll()
        this.#enqueue(Buffer.from(`${lastWords}\n`))
      }
      this.#open = false
      this.flush()
      return this.#until(() => this.#inFlight === 0)
    })
  }

  #until(condition: () => boolean): Effect.Effect<void> {
    const change = Effect.callback<void>((resume) => {
      const wake = () => resume(Effect.void)
      this.#waiting ??= new Set()
      this.#waiting.add(wake)
      return Effect.sync(() => this.#waiting?.delete(wake))
    })
    const wait: Effect.Effect<void> = Effect.suspend(() => (condition() ? Effect.void : Effect.andThen(change, wait)))
    return wait
  }

  /** Whether so many bytes more may wait; the client is a slow consumer if not. */
  #admit(length: number): boolean {
    if (this.#open && this.pending + length > this.#options.maxPending) this.#slow()
    return this.#open
  }

  #appended(): void {
    if (this.pending > this.#options.maxPending / 2) this.#congestedSince ??= this.#options.now()
    this.#touch()
  }

  /** For how many milliseconds more others are to wait for the client. */
  #holdLeft(): number {
    if (this.#congestedSince === undefined) return 0
    return this.#congestedSince + Duration.toMillis(this.#options.maxHold) - this.#options.now()
  }

  #touch(): void {
    if (this.#touched) return
    this.#touched = true
    this.#options.touched.add(this)
  }

  #enqueue(bytes: Uint8Array): void {
    this.#queue.push(bytes)
    this.#queuedBytes += bytes.length
  }

  /** A buffer with room for so many bytes more behind what was gathered. */
  #room(length: number): Uint8Array {
    this.#settleShared()
    if (this.#buffer === undefined || this.#buffered + length > this.#buffer.length) {
      // Twice what is usually written mostly holds what comes next, and what is in one buffer costs one write.
      const usual = Math.max(2 * this.#usuallyWritten, 4 * this.#seal())
      this.#buffer = Buffer.allocUnsafe(Math.max(length, Math.min(MAX_BUFFER_BYTES, Math.max(MIN_BUFFER_BYTES, usual))))
    }
    return this.#buffer
  }

  /** Moves what was gathered into the queue; returns how much that was. */
  #seal(): number {
    const length = this.#buffered
    if (this.#buffer !== undefined && length > 0) {
      const bytes = this.#buffer.subarray(0, length)
      if (this.#claims.length === 0) {
        this.#enqueue(bytes)
      } else {
        this.#queue.push({ bytes, claims: this.#claims, bounds: this.#bounds })
        this.#queuedBytes += length
        this.#claims = NO_CLAIMS
        this.#bounds = NO_BOUNDS
      }
    }
    this.#buffer = undefined
    this.#buffered = 0
    return length
  }

  #sealAll(): void {
    this.#settleShared()
    this.#seal()
  }

  /**
   * Moves the piece that is shared behind what was gathered: into the queue; or, where
   * it has to wait, into the buffer, for it would keep all that is shared in memory.
   */
  #settleShared(): void {
    if (this.#sharedBytes === undefined) return
    const bytes = this.#sharedBytes.subarray(this.#sharedStart, this.#sharedEnd)
    this.#forgetShared()
    if (this.#inFlight > 0) {
      this.#room(bytes.length).set(bytes, this.#buffered)
      this.#buffered += bytes.length
    } else {
      this.#seal()
      this.#enqueue(bytes)
    }
  }

  #forgetShared(): void {
    this.#sharedBytes = undefined
    this.#sharedStart = 0
    this.#sharedEnd = 0
  }

  /** The next bytes to be written; they are in flight from now on. */
  #take(): Array<Uint8Array> {
    this.#sealAll()
    const chunks: Array<Uint8Array> = []
    while (this.#inFlight < WRITE_BYTES) {
      const head = this.#queue[0]
      if (head === undefined) break
      let chunk: Uint8Array
      if (head instanceof Uint8Array) {
        this.#queue.shift()
        this.#queuedBytes -= head.length
        chunk = head
      } else if ("bytes" in head) {
        this.#queue.shift()
        this.#queuedBytes -= head.bytes.length
        this.#hand(head, chunks)
        continue
      } else {
        const next = head.next()
        if (next.done === true) {
          this.#queue.shift()
          this.#listings--
          continue
        }
        chunk = next.value
      }
      chunks.push(chunk)
      this.#inFlight += chunk.length
    }
    if (this.#inFlight > 0) this.#usuallyWritten = Math.max(this.#inFlight, this.#usuallyWritten >> 1)
    return chunks
  }

  /** What of it is still wanted is in flight from now on. */
  #hand({ bounds, bytes, claims }: Claimed, chunks: Array<Uint8Array>): void {
    const before = chunks.length
    let from = 0
    for (let i = 0; i < claims.length; i++) {
      if (claims[i]!.hand()) continue
      if (bounds[2 * i]! > from) chunks.push(bytes.subarray(from, bounds[2 * i]))
      from = bounds[2 * i + 1]!
    }
    if (from < bytes.length) chunks.push(bytes.subarray(from))
    for (let i = before; i < chunks.length; i++) this.#inFlight += chunks[i]!.length
  }

  #written(exit: Exit.Exit<void, Socket.SocketError>): void {
    const waited = this.#stallTimer
    this.#stallTimer = undefined
    waited?.interruptUnsafe()
    this.#inFlight = 0
    if (Exit.isFailure(exit)) {
      this.#discard()
      this.#wake()
      this.#count()
    } else if (waited !== undefined) {
      this.flush()
    }
  }

  /** Has those who wait look again. */
  #wake(): void {
    if (this.#waiting === undefined) return
    for (const wake of this.#waiting) queueMicrotask(wake)
    this.#waiting = undefined
  }

  /** What was accepted stays: it is still written if the client reads before the connection is cut. */
  #slow(): void {
    if (!this.#open) return
    this.close()
    this.#onSlow()
  }

  #discard(): void {
    this.#open = false
    this.#queue = []
    this.#queuedBytes = 0
    this.#listings = 0
    this.#buffer = undefined
    this.#buffered = 0
    this.#claims = NO_CLAIMS
    this.#bounds = NO_BOUNDS
    this.#forgetShared()
  }
}
