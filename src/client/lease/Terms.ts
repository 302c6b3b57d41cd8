/**
 * The terms of this client as the leader: each lasts from when it may act on rank 0 until it must have stopped.
 * It owns which term runs, and by which lease; `Connection` reports what it hears, `Leader` runs the work.
 *
 * Invariants: there is at most one term, and none before the server knows of the lease. A term ends when its lease
 * does, as soon as the client hears of another rank, and when the client steps down; the loss of a connection does not
 * end it. Its lease is that of the connection in which the client heard of rank 0 last.
 */
import { Effect, FiberHandle, Stream, SubscriptionRef } from "effect"
import type { Lease } from "./Lease.ts"

/** The longest time between two looks at the lease, in milliseconds: no timer runs while the machine is suspended. */
export const TICK = 100

export class Term {
  /** The fencing token: the epoch in which the term began. It stays the same when the client resumes. */
  readonly epoch: number
  readonly group: string
  #member: string
  #lease: Lease

  constructor({ epoch, group, member }: Told, lease: Lease) {
    this.epoch = epoch
    this.group = group
    this.#member = member
    this.#lease = lease
    lease.isActing = true
  }

  get member(): string {
    return this.#member
  }

  get lease(): Lease {
    return this.#lease
  }

  /** From now on this term is that of this member, and lasts as long as this lease. */
  continueAs(member: string, lease: Lease): void {
    this.#member = member
    this.#lease = lease
    lease.isActing = true
  }

  /** Milliseconds until what the term allows must have ended. */
  get left(): number {
    return this.#lease.left
  }
}

/** What the server said about this client last. */
interface Told {
  readonly rank: number
  readonly group: string
  readonly member: string
  readonly epoch: number
  /** Milliseconds in which a client that does not act yet must not begin. */
  readonly leadIn?: number | undefined
}

/** What this needs of the present connection. */
export interface Link {
  readonly lease: Lease
  /** Runs at most one effect: what comes before a term. */
  readonly beginning: FiberHandle.FiberHandle<void>
  readonly ping: (text: string) => void
  readonly yield: () => void
}

export class Terms {
  /** The present term. */
  readonly current: SubscriptionRef.SubscriptionRef<Term | undefined>
  /** How many pieces of work run that have not taken too long to end. */
  works = 0
  #link: Link | undefined
  #granted = false
  /** The epoch of what this connection heard last; undefined before that. */
  #epoch: number | undefined
  /** The rank that the client heard last, on whatever connection. */
  #rank: number | undefined
  /** Whether a `Yield` is on its way on this connection: one more might take effect when the client leads again. */
  #yielded = false
  /** Whether the client has stepped down, and the server has not confirmed it. */
  #yielding = false

  static readonly make: Effect.Effect<Terms> = Effect.map(
    SubscriptionRef.make<Term | undefined>(undefined),
    (current) => new Terms(current)
  )

  private constructor(current: SubscriptionRef.SubscriptionRef<Term | undefined>) {
    this.current = current
  }

  /** Whether the server knows that this client has a lease. If not, it may promote the next when the connection ends. */
  get isGranted(): boolean {
    return this.#granted
  }

  get present(): Term | undefined {
    return SubscriptionRef.getUnsafe(this.current)
  }

  /** A connection begins. */
  open(link: Link): void {
    this.#link = link
    this.#epoch = undefined
    this.#yielded = false
  }

  /** The server has answered a `Hello`: with `granted`, it knows of the lease. */
  welcomed(granted: boolean): void {
    this.#granted = granted
    this.#epoch = undefined
  }

  /** The client has heard where it stands. */
  told(told: Told): Effect.Effect<void> {
    const { epoch, leadIn = 0, member, rank } = told
    return Effect.suspend(() => {
      const link = this.#link
      if (link === undefined) return Effect.void
      const before = this.#epoch
      this.#epoch = epoch
      this.#rank = rank
      if (this.#yielding) this.#confirm(rank, before !== undefined && before !== epoch)
      if (rank !== 0 || this.#yielding) return this.end
      const term = this.present
      if (term !== undefined && this.#goesOn(term, told, before)) {
        term.continueAs(member, link.lease)
        return Effect.void
      }
      const begin = Effect.suspend(() => {
        link.ping(link.lease.extraPing())
        return SubscriptionRef.set(this.current, new Term(told, link.lease))
      })
      return Effect.andThen(
        this.end,
        leadIn === 0
          ? begin
          : FiberHandle.run(
              link.beginning,
              Effect.andThen(Effect.andThen(Effect.sleep(leadIn), confirmed(link)), begin)
            )
      )
    })
  }

  /** The connection has ended. */
  readonly closed: Effect.Effect<void> = Effect.suspend(() => {
    this.#link = undefined
    return this.#granted ? Effect.void : this.end
  })

  /** Ends the present term, or what comes before it. */
  readonly end: Effect.Effect<void> = Effect.suspend(() => {
    const [link, term] = [this.#link, this.present]
    const cleared = link === undefined ? Effect.void : FiberHandle.clear(link.beginning)
    if (term === undefined) return cleared
    term.lease.isActing = false
    return Effect.andThen(SubscriptionRef.set(this.current, undefined), cleared)
  })

  /** Ends each term with its lease, for ever. */
  readonly run: Effect.Effect<never> = Effect.suspend(() => {
    const term = this.present
    if (term === undefined) return Stream.runHead(Stream.filter(SubscriptionRef.changes(this.current), isTerm))
    return term.left > 0 ? Effect.sleep(Math.min(TICK, Math.ceil(term.left))) : this.end
  }).pipe(Effect.forever)

  /** Gives up rank 0, if the client has it: now, or as soon as it is connected again. */
  readonly stepDown: Effect.Effect<void> = Effect.suspend(() => {
    if (this.#rank !== 0) return Effect.void
    this.#yielding = true
    // Without a welcome on this connection the server does not know yet whose rank it is.
    if (this.#epoch !== undefined) this.#yield()
    return this.end
  })

  /** The server has rejected a `Yield`, or may have. */
  readonly yieldAgain: Effect.Effect<void> = Effect.suspend(() => {
    const link = this.#link
    if (!this.#yielding || link === undefined) return Effect.void
    this.#yielded = false
    const again = Effect.sync(() => this.#yielding && this.#yield())
    return Effect.asVoid(FiberHandle.run(link.beginning, Effect.asVoid(Effect.delay(again, YIELD_AGAIN))))
  })

  #yield(): void {
    if (this.#yielded || this.#link === undefined) return
    this.#yielded = true
    this.#link.yield()
  }

  /** @param answered whether this is another order of the members than before on this connection */
  #confirm(rank: number, answered: boolean): void {
    this.#yielding = rank === 0 && !answered
    if (this.#yielding) this.#yield()
    else this.#yielded = false
  }

  /** Whether the work of this term goes on under the lease of the present connection. */
  #goesOn(term: Term, { epoch, group, leadIn = 0, member }: Told, before: number | undefined): boolean {
    if (term.left <= 0 || term.group !== group) return false
    // In the same seat: only after another rank does the epoch of rank 0 change.
    if (before !== undefined && term.lease === this.#link?.lease) return before === epoch
    // It has resumed; or the server has started again and waits for former leaders, of which this is one.
    return term.member === member || leadIn > 0
  }
}

/** A server rejects a `Yield` only if it comes too soon after other commands; it counts them by the second. */
const YIELD_AGAIN = "1 second"

const isTerm = (term: Term | undefined) => term !== undefined

/**
 * Waits for the answer to a ping sent now. While a client waits to act, another process may take over its seat with the
 * same resume token and go on with its own work; the answer tells that the seat is still this client's.
 */
const confirmed = ({ lease, ping }: Link): Effect.Effect<void> =>
  Effect.callback((resume) => {
    ping(lease.extraPing(() => resume(Effect.void)))
  })
