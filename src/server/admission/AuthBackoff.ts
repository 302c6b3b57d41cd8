/**
 * The delay before the answer to a wrong token. It doubles with each wrong token from the
 * same subnet. It counts per subnet, not per connection, because a new connection is cheap. A
 * valid token never waits: the wrong ones may come from another client in the subnet.
 */

/** The first and the longest delay in milliseconds. rankd's own clients wait five seconds for an answer. */
const FIRST_DELAY = 100
const LONGEST_DELAY = 4000

/** After so many milliseconds without a wrong token, the delay of a subnet is the first again. */
const FORGOTTEN_AFTER = 60_000

/** The most subnets to remember. The one with the oldest failure is forgotten first. */
const MAX_SUBNETS = 10_000

export class AuthBackoff {
  readonly #failures = new Map<string, { readonly count: number; readonly at: number }>()

  /** Counts a wrong token from the subnet, and returns the delay before the answer. All times are in milliseconds. */
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
