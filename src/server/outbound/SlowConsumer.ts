/**
 * The slow-consumer rule: how a client is treated when it does not read as fast as
 * others write to it. It owns the thresholds and how long others wait; it holds no
 * bytes and reads no clock. A client is in one of three states:
 *
 * - *flowing*: at most half of `maxPending` waits. Such a client has no `SlowConsumer`,
 *   so an idle one pays nothing.
 * - *congested*: more waits. Other clients wait before they add to it, as TCP slows
 *   down a sender.
 * - *stalled*: congested for longer than `maxHold`. Others wait no more; the rest of
 *   `maxPending` fills up, and then the client is disconnected.
 *
 * The client flows again when no more than a quarter of `maxPending` waits.
 */
import { Duration } from "effect"
import type { SlowConsumerCause } from "../events/CloseCause.ts"

export interface SlowConsumerLimits {
  /** Bytes that may wait for one client. */
  readonly maxPending: number
  /** How long other clients wait for a congested one. */
  readonly maxHold: Duration.Duration
}

/** Whether a client that was flowing is congested now that so many bytes wait. */
export const isCongested = ({ maxPending }: SlowConsumerLimits, pending: number): boolean => pending > maxPending / 2

export class SlowConsumer {
  readonly #maxPending: number
  readonly #holdUntil: number

  /** The client becomes congested at `now`: milliseconds of a monotonic clock, as everywhere here. */
  constructor({ maxHold, maxPending }: SlowConsumerLimits, now: number) {
    this.#maxPending = maxPending
    this.#holdUntil = now + Duration.toMillis(maxHold)
  }

  /** For how many milliseconds more others wait: 0 once the client has stalled. */
  holdLeft(now: number): number {
    return Math.max(0, this.#holdUntil - now)
  }

  /** Why the client is to be disconnected, if so many bytes were to wait. */
  verdict(pending: number): SlowConsumerCause | undefined {
    return pending > this.#maxPending ? "pending bytes" : undefined
  }

  /** Whether the client flows again now that so many bytes wait. */
  hasRecovered(pending: number): boolean {
    return pending <= this.#maxPending / 4
  }
}
