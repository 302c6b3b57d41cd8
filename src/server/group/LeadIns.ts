/**
 * How long a client that gets rank 0 must wait before it acts on it, because the work of a former leader may still
 * run under its lease. It owns the end of these leases, by group: a group that has closed may open again meanwhile.
 *
 * Invariant: the lead-in of each client with a lease covers the `--settle` of a server that has just started, and the
 * lease of each connection whose rank another connection has taken over.
 */

/** So many ended leases are not worth a look. */
const FEW = 64

export class LeadIns {
  readonly #now: () => number
  /** Until then the server does not know which leases it granted before it started. */
  readonly #settledAt: number
  readonly #leasedUntil = new Map<string, number>()
  /** With so many groups, the ended leases among them are dropped. It doubles with what is left, so each costs one look or two. */
  #most = FEW

  /** @param settle and all times in milliseconds; `now` is the monotonic clock */
  constructor(settle: number, now: () => number) {
    this.#now = now
    this.#settledAt = now() + settle
  }

  /** A former leader of the group may act until then, although another client can get its rank. */
  defer(group: string, until: number): void {
    const now = this.#now()
    if (until <= Math.max(now, this.leasedUntil(group))) return
    this.#leasedUntil.set(group, until)
    if (this.#leasedUntil.size <= this.#most) return
    for (const [other, end] of this.#leasedUntil) if (end <= now) this.#leasedUntil.delete(other)
    this.#most = Math.max(FEW, 2 * this.#leasedUntil.size)
  }

  /** When the leases of former leaders of the group have ended; 0 if they have. */
  leasedUntil(group: string): number {
    const end = this.#leasedUntil.get(group) ?? 0
    return end > this.#now() ? end : 0
  }

  /** The whole milliseconds that a client which gets rank 0 of the group now must wait; undefined if it need not. */
  of(group: string): number | undefined {
    const wait = Math.ceil(Math.max(this.#settledAt, this.leasedUntil(group)) - this.#now())
    return wait > 0 ? Math.min(wait, Number.MAX_SAFE_INTEGER) : undefined
  }
}
