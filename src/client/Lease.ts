/**
 * For how long a client may count on what it last heard of its rank: two
 * heartbeats from when it *said* the last ping that was answered.
 *
 * That is a lease, as of Gray & Cheriton, "Leases", 1989. The server lets a client
 * go that it has not heard for two and a half heartbeats. It heard that ping when it
 * was said, or later, and what was said after it later still; so it lets the client go
 * two and a half heartbeats after the ping was said, or later, however long anything
 * was under way, in either direction. By then the client has given up, half a
 * heartbeat before. Only the lengths of times are compared, each on one side, by
 * clocks that are never set: the two need not agree on what time it is.
 */
import type { Clock } from "effect"

/** Heartbeats that an answered ping is good for. The server's limit, two and a half, is larger. */
const GOOD_FOR = 2

/**
 * A ping is said after so much of a heartbeat: an answer may then take longer than
 * one, and the server, which asks who was silent for one, need not ask.
 */
const PING_AFTER = 0.75

/** What the pings say before their number, to tell their answers from those to others. */
const TEXT = "rankd-client "

const NANOS = 1_000_000

export class Lease {
  /** In milliseconds, as are the times. */
  readonly #heartbeat: number
  readonly #clock: Clock.Clock
  #goodFrom: number
  #pings = 0
  #lastPing: number
  /** When those pings were said that are not answered yet. */
  readonly #said = new Map<string, number>()

  /** It begins with something that the server will answer: the `Hello`, which is said now. */
  constructor(clock: Clock.Clock, heartbeat: number) {
    this.#clock = clock
    this.#heartbeat = heartbeat
    this.#goodFrom = this.#now()
    this.#lastPing = this.#goodFrom
  }

  /** Milliseconds that it has left; none, or less, where it has expired. */
  get left(): number {
    return this.#goodFrom + GOOD_FOR * this.#heartbeat - this.#now()
  }

  /** Milliseconds until it expires, or a ping is due. */
  get wait(): number {
    const due = this.#lastPing + PING_AFTER * this.#heartbeat - this.#now()
    return Math.max(1, Math.ceil(Math.min(this.left, due)))
  }

  /** The text of a ping, to be said now, where one is due. */
  ping(): string | undefined {
    const now = this.#now()
    if (now - this.#lastPing < PING_AFTER * this.#heartbeat) return undefined
    this.#lastPing = now
    const text = `${TEXT}${++this.#pings}`
    this.#said.set(text, now)
    return text
  }

  /** Whether what was answered is a ping of this lease's. */
  answered(text: string | undefined): boolean {
    const said = text === undefined ? undefined : this.#said.get(text)
    if (text === undefined || said === undefined) return false
    this.#said.delete(text)
    this.#goodFrom = Math.max(this.#goodFrom, said)
    return true
  }

  #now(): number {
    return Number(this.#clock.monotonicTimeNanosUnsafe()) / NANOS
  }
}
