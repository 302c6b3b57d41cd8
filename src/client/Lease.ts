/**
 * How long a client may count on the rank that it heard last: two heartbeats from when it *sent* the last
 * ping that the server answered. It owns those times; it sends nothing.
 *
 * Invariant: the lease ends before the server gives up the client. This is a lease as in Gray & Cheriton,
 * "Leases", 1989. The server gives up a client that it has not heard for two and a half heartbeats. It heard the
 * answered ping when the client sent it, or later, so it gives up the client two and a half heartbeats after
 * that moment at the earliest, however long anything was on its way. Half a heartbeat before, the lease
 * has ended. Each side measures durations by its own monotonic clock, so the two need not agree on the time.
 */
import type { Clock } from "effect"

/** Heartbeats from an answered ping to the end of the lease. The server's limit, two and a half, is larger. */
const GOOD_FOR = 2

/**
 * Heartbeats from one ping to the next. Less than one: an answer may take more than a heartbeat, and the server,
 * which pings clients that were silent for one, does not have to.
 */
const PING_AFTER = 0.75

/** The text of each ping before its number: it tells the answers from those to other pings. */
const TEXT = "rankd-client "

const NANOS_PER_MILLI = 1_000_000

export class Lease {
  /** In milliseconds, like all times here. */
  readonly #heartbeat: number
  readonly #clock: Clock.Clock
  #goodFrom: number
  #pings = 0
  #lastPing: number
  /** When each unanswered ping was sent, by its text. */
  readonly #sent = new Map<string, number>()

  /** The lease begins with a message that the server answers: the `Hello`, sent now. `heartbeat` is in milliseconds. */
  constructor(clock: Clock.Clock, heartbeat: number) {
    this.#clock = clock
    this.#heartbeat = heartbeat
    this.#goodFrom = this.#now()
    this.#lastPing = this.#goodFrom
  }

  /** Milliseconds until the lease ends; zero or less once it has. */
  get left(): number {
    return this.#goodFrom + GOOD_FOR * this.#heartbeat - this.#now()
  }

  /** Milliseconds until the lease ends or a ping is due, at least 1. */
  get wait(): number {
    const due = this.#lastPing + PING_AFTER * this.#heartbeat - this.#now()
    return Math.max(1, Math.ceil(Math.min(this.left, due)))
  }

  /** The text of a ping to send now; undefined if none is due. */
  ping(): string | undefined {
    const now = this.#now()
    if (now - this.#lastPing < PING_AFTER * this.#heartbeat) return undefined
    this.#lastPing = now
    const text = `${TEXT}${++this.#pings}`
    this.#sent.set(text, now)
    return text
  }

  /** Renews the lease by the answer to a ping; false if the ping was not one of this lease. */
  answered(text: string | undefined): boolean {
    const sent = text === undefined ? undefined : this.#sent.get(text)
    if (text === undefined || sent === undefined) return false
    this.#sent.delete(text)
    this.#goodFrom = Math.max(this.#goodFrom, sent)
    return true
  }

  #now(): number {
    return Number(this.#clock.monotonicTimeNanosUnsafe()) / NANOS_PER_MILLI
  }
}
