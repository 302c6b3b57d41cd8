/**
 * The delay that a wrong token costs its subnet, longer each time. It is counted by
 * subnet and not by connection, for the next connection is cheap. A right token never
 * waits: somebody else in the subnet may have a wrong one.
 */

/** The first delay, and the longest, in milliseconds: rankd's own clients wait five seconds for an answer. */
const FIRST_DELAY = 100
const LONGEST_DELAY = 4000

/** After so many milliseconds without a wrong token a subnet starts over. */
const FORGOTTEN_AFTER = 60_000

/** The most subnets to remember. The one that failed least recently is forgotten first. */
const MAX_SUBNETS = 10_000

export class AuthBackoff {
  readonly #failures = new Map<string, { readonly count: number; readonly at: number }>()

  /** Notes a wrong token from the subnet; returns the delay before its answer. All times are in milliseconds. */
  failed(subnet: string, now: number): number {
    const before = this.#failures.get(subnet)
    const count = before === undefined || now - before.at > FORGOTTEN_AFTER ? 1 : before.count + 1
    this.#failures.delete(subnet)
    this.#failures.set(subnet, { count, at: now })
    const [oldest] = this.#failures.keys()
    if (this.#failures.size > MAX_SUBNETS && oldest !== undefined) this.#failures.delete(oldest)
    return Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** (count - 1))
  }
}
