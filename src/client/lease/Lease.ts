/**
 * How long a client may count on the rank that it heard last: two heartbeats from when it *sent* the last
 * ping that the server answered. It owns those times; it sends nothing. A lease belongs to one connection.
 *
 * Invariant: the lease ends before the server's promise does. This is a lease as in Gray & Cheriton,
 * "Leases", 1989. The server counts two and a half heartbeats from when it last heard the client. It heard the
 * answered ping when the client sent it, or later, however long anything was on its way. So the lease ends half
 * a heartbeat before. Each side measures durations by its own clock, so the two need not agree on the time.
 */
import type { Moment, Stopwatch } from "./Stopwatch.ts"

/** Heartbeats from an answered ping to the end of the lease. The server's limit, two and a half, is larger. */
export const GOOD_FOR = 2

/**
 * Heartbeats from one ping to the next. Less than one: an answer may take more than a heartbeat, and the server,
 * which pings clients that were silent for one, does not have to.
 */
export const PING_AFTER = 0.5

/**
 * The same while the client acts on its rank: then one and three quarters of a heartbeat are left, at least, when its
 * connection breaks. With the defaults of `rankd lead` a break of a second does not end the work.
 */
const PING_AFTER_ACTING = 0.25

/** The text of each ping before its number: it tells the answers from those to other pings. */
const TEXT = "rankd-client "

interface Sent {
  readonly at: Moment
  readonly onAnswer: (() => void) | undefined
}

export class Lease {
  readonly #stopwatch: Stopwatch
  /** In milliseconds, like all durations here. */
  #heartbeat: number
  #goodFrom: Moment
  #lastPing: Moment
  #pings = 0
  /** Whether the client acts on its rank. */
  isActing = false
  /** The unanswered pings, by their texts, in the order in which they were sent. */
  readonly #sent = new Map<string, Sent>()

  /** The lease begins with a message that the server answers: the `Hello`, sent now. `heartbeat` is in milliseconds. */
  constructor(stopwatch: Stopwatch, heartbeat: number) {
    this.#stopwatch = stopwatch
    this.#heartbeat = heartbeat
    this.#goodFrom = stopwatch.now()
    this.#lastPing = this.#goodFrom
  }

  /** Milliseconds until the lease ends; zero or less once it has. */
  get left(): number {
    return GOOD_FOR * this.#heartbeat - this.#stopwatch.since(this.#goodFrom)
  }

  /** Milliseconds until the lease ends or a ping is due, at least 1; shorter, because the client may begin to act. */
  get wait(): number {
    return Math.max(1, Math.ceil(Math.min(this.left, this.#untilPing, PING_AFTER_ACTING * this.#heartbeat)))
  }

  get #untilPing(): number {
    const share = this.isActing ? PING_AFTER_ACTING : PING_AFTER
    return share * this.#heartbeat - this.#stopwatch.since(this.#lastPing)
  }

  /**
   * The lease of another seat, or with another heartbeat, begins with the message sent now. Answers to earlier
   * pings do not renew it.
   */
  restart(heartbeat = this.#heartbeat): void {
    this.#heartbeat = heartbeat
    this.#goodFrom = this.#stopwatch.now()
    this.#sent.clear()
  }

  /** The text of a ping to send now; undefined if none is due. */
  ping(): string | undefined {
    return this.#untilPing > 0 ? undefined : this.extraPing()
  }

  /** The text of a ping to send now, due or not. */
  extraPing(onAnswer?: () => void): string {
    const at = this.#stopwatch.now()
    this.#lastPing = at
    const text = `${TEXT}${++this.#pings}`
    this.#sent.set(text, { at, onAnswer })
    return text
  }

  /** Renews the lease by the answer to a ping; false if the ping was not one of this lease. */
  answered(text: string | undefined): boolean {
    if (text === undefined || !text.startsWith(TEXT)) return false
    const ping = this.#sent.get(text)
    if (ping === undefined) return true
    // The server answers in order: it has answered, or will never answer, the earlier pings.
    for (const [earlier, { onAnswer }] of this.#sent) {
      this.#sent.delete(earlier)
      onAnswer?.()
      if (earlier === text) break
    }
    this.#goodFrom = ping.at
    return true
  }
}
