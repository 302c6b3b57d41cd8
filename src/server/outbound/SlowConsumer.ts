/**
 * The slow-consumer rule, for a client that does not read as fast as others write to it. It
 * owns the thresholds, and the time that other clients wait. It has no bytes and reads no
 * clock. A client is in one of three states:
 *
 * - *flowing*: at most half of `maxPending` waits. The client has no `SlowConsumer`, so that
 *   an idle client costs nothing.
 * - *congested*: more than half of `maxPending` waits. Other clients wait before they send it
 *   more, just as TCP slows down a sender.
 * - *stalled*: the client was congested for longer than `maxHold`. Other clients do not wait
 *   any more. When `maxPending` is full, the server disconnects the client.
 *
 * The client flows again when at most a quarter of `maxPending` waits.
 */
import { Duration } from "effect"
import type { SlowConsumerCause } from "../events/CloseCause.ts"

export interface SlowConsumerLimits {
  /** The most bytes that wait for one client. */
  readonly maxPending: number
  /** How long other clients wait for a congested client. */
  readonly maxHold: Duration.Duration
}

/** Whether a flowing client becomes congested when so many bytes wait. */
export const isCongested = ({ maxPending }: SlowConsumerLimits, pending: number): boolean => pending > maxPending / 2

export class SlowConsumer {
  readonly #maxPending: number
  readonly #holdUntil: number

  /** @param now when the client became congested, in milliseconds of the monotonic clock, as everywhere here */
  constructor({ maxHold, maxPending }: SlowConsumerLimits, now: number) {
    this.#maxPending = maxPending
    this.#holdUntil = now + Duration.toMillis(maxHold)
  }

  /** For how many more milliseconds other clients wait: 0 once the client has stalled. */
  holdLeft(now: number): number {
    return Math.max(0, this.#holdUntil - now)
  }

  /** The cause to disconnect the client, if so many bytes would wait; undefined if they may. */
  verdict(pending: number): SlowConsumerCause | undefined {
    return pending > this.#maxPending ? "pending bytes" : undefined
  }

  /** Whether the client flows again when so many bytes wait. */
  hasRecovered(pending: number): boolean {
    return pending <= this.#maxPending / 4
  }
}
