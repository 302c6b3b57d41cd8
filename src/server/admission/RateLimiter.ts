/** A token bucket: so many a second, and as many at once. It costs no timer. */
export class RateLimit {
  readonly perSecond: number
  #left: number
  #at = Number.NEGATIVE_INFINITY

  constructor(perSecond: number) {
    this.perSecond = perSecond
    this.#left = perSecond
  }

  /** What was taken last is not needed yet. */
  giveBack(): void {
    this.#left++
  }

  /** Whether one more may pass, at a time in milliseconds. */
  take(now: number): boolean {
    const since = Math.min(1000, Math.max(0, now - this.#at))
    this.#left = Math.min(this.perSecond, this.#left + (since * this.perSecond) / 1000)
    this.#at = now
    if (this.#left < 1) return false
    this.#left--
    return true
  }
}
