/** Delays that double each time that the same client, or its subnet, does what it should not repeat. All times are in milliseconds. */

export interface BackoffOptions {
  readonly first: number
  readonly longest: number
  /** After so long without a repetition, the delay is the first again. */
  readonly forgottenAfter: number
}

/** The most keys to remember. The one with the oldest repetition is forgotten first. */
const MAX_KEYS = 10_000

export class Backoff {
  readonly #options: BackoffOptions
  readonly #counts = new Map<string, { readonly count: number; readonly at: number }>()

  constructor(options: BackoffOptions) {
    this.#options = options
  }

  /** Counts one more for the key. */
  count(key: string, now: number): void {
    const count = this.#countOf(key, now) + 1
    this.#counts.delete(key)
    this.#counts.set(key, { count, at: now })
    const [oldest] = this.#counts.keys()
    if (this.#counts.size > MAX_KEYS && oldest !== undefined) this.#counts.delete(oldest)
  }

  /** The delay for the next one. */
  delay(key: string, now: number): number {
    const { first, longest } = this.#options
    return Math.min(longest, first * 2 ** this.#countOf(key, now))
  }

  #countOf(key: string, now: number): number {
    const last = this.#counts.get(key)
    return last === undefined || now - last.at > this.#options.forgottenAfter ? 0 : last.count
  }
}
