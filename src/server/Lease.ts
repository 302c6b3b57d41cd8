/**
 * A client's lease on its rank: how long the client may count on the rank that it knows. The client promises to stop
 * before the lease ends, and the server promotes no other member before that. It owns what the client was promised
 * and when the server last heard it, in milliseconds of the monotonic clock.
 *
 * Invariant: `until` is never earlier than the end of a lease that the client still counts on. The client counts two
 * heartbeats from when it sent its last answered ping; the server counts `SILENCE` heartbeats from when it received
 * it. A promise with another heartbeat leaves what the earlier ones have promised as it is.
 */

/** After so many heartbeats of silence a lease has ended, and a client times out. */
export const SILENCE = 2.5

export class Lease {
  #heartbeat: number
  /** The end of what promises before the present one have promised. */
  #earlier = 0
  /** When the client was last heard. */
  heardAt: number

  /** A lease begins with a `Hello`, heard now. */
  constructor(heartbeat: number, now: number) {
    this.#heartbeat = heartbeat
    this.heardAt = now
  }

  /** The end of the lease, if the client is not heard again. */
  get until(): number {
    return Math.max(this.#earlier, this.heardAt + SILENCE * this.#heartbeat)
  }

  /** From now on the client counts on a lease with this heartbeat. */
  promise(heartbeat: number, now: number): void {
    this.heardAt = now
    this.#earlier = this.until
    this.#heartbeat = heartbeat
  }
}
