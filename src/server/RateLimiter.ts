/** A token bucket: it refills by `perSecond` tokens a second, and contains at most that many. It needs no timer. */
export class RateLimiter {
  readonly perSecond: number
  #left: number
  #at = Number.NEGATIVE_INFINITY

  constructor(perSecond: number) {
    this.perSecond = perSecond
    this.#left = perSecond
  }

  /** Takes a token; false if there is none. `now` is in milliseconds. */
  take(now: number): boolean {
    const since = Math.min(1000, Math.max(0, now - this.#at))
    this.#left = Math.min(this.perSecond, this.#left + (since * this.perSecond) / 1000)
    this.#at = now
    if (this.#left < 1) return false
    this.#left--
    return true
  }

  /** Returns a token: the action did not happen, and will take a token when it does. */
  giveBack(): void {
    this.#left++
  }
}
