/**
 * What a wrong token costs: its bearer's network waits, longer each time. It is
 * counted by network and not by connection, for the next connection is cheap. A
 * right token never waits: somebody else in the network may have a wrong one.
 */

/** The first wait, and the longest, in milliseconds: rankd's own clients wait five seconds for an answer. */
const FIRST_WAIT = 100
const LONGEST_WAIT = 4000

/** After so long without a wrong token a network begins anew, in milliseconds. */
const FORGOTTEN_AFTER = 60_000

/** Networks that are remembered; the one that failed least recently is forgotten first. */
const MAX_NETWORKS = 10_000

export class Penalties {
  readonly #failures = new Map<string, { readonly count: number; readonly at: number }>()

  /** Notes a wrong token from the network, at a time in milliseconds; for how many more its bearer is to wait. */
  wrong(network: string, now: number): number {
    const before = this.#failures.get(network)
    const count = before === undefined || now - before.at > FORGOTTEN_AFTER ? 1 : before.count + 1
    this.#failures.delete(network)
    this.#failures.set(network, { count, at: now })
    if (this.#failures.size > MAX_NETWORKS) this.#failures.delete(this.#failures.keys().next().value!)
    return Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (count - 1))
  }
}
