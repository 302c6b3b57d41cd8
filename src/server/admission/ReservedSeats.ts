/**
 * The seats of absent members: whose they are, when each reservation ends, and how many there are by subnet. It owns
 * the timers. How long a reservation lasts, and what follows from its end, is the matter of `Reservations`.
 *
 * Invariant: a reservation ends once, at its deadline or before, and never by a sweep.
 */
import { Effect, type Fiber, type Scope } from "effect"
import { SubnetCounter } from "../../net/Subnet.ts"
import type { LeaveReason } from "../../protocol/Reasons.ts"
import type { Seat } from "../group/Seat.ts"
import type { Peer } from "../Peer.ts"
import { sleepUntil } from "../time.ts"
import type { Bearer } from "./Access.ts"

/** The seat of an absent member. All times are in milliseconds of the monotonic clock. */
export interface Reservation {
  readonly peer: Peer
  readonly seat: Seat
  /** Its name, when its connection ended. */
  readonly name: string | undefined
  readonly bearer: Bearer | undefined
  /** Why its connection ended. */
  readonly reason: LeaveReason
  /** The end of the lease of a member at rank 0; 0 for any other member. */
  readonly leasedUntil: number
  /** Whether it counts for the limits on connections. */
  readonly counts: boolean
}

export class ReservedSeats {
  readonly #scope: Scope.Scope
  readonly #now: () => number
  readonly #expired: (reservation: Reservation) => Effect.Effect<void>
  readonly #reserved = new Map<Peer, Reservation>()
  readonly #timers = new Map<Reservation, Fiber.Fiber<void>>()
  /** Counts the members that are absent for the grace, by the subnet of their last address. */
  readonly #counted = new SubnetCounter()

  /** @param expired runs when a reservation has ended at its deadline; `scope` ends all timers */
  constructor(scope: Scope.Scope, now: () => number, expired: (reservation: Reservation) => Effect.Effect<void>) {
    this.#scope = scope
    this.#now = now
    this.#expired = expired
  }

  of(peer: Peer): Reservation | undefined {
    return this.#reserved.get(peer)
  }

  all(): ReadonlyArray<Reservation> {
    return [...this.#reserved.values()]
  }

  /** How many reservations count for the limits: in total, and in the subnet of this address. */
  counted(address: string): { readonly total: number; readonly subnet: number } {
    return { total: this.#counted.total, subnet: this.#counted.of(address) }
  }

  /** Reserves the seat of a member from now on. */
  add(reservation: Reservation, deadline: number): Effect.Effect<void> {
    const { counts, peer } = reservation
    this.#reserved.set(peer, reservation)
    if (counts) this.#counted.add(peer.address, 1)
    return this.endAt(reservation, deadline)
  }

  /** Ends the reservation at this deadline, in place of the one that it had. */
  endAt(reservation: Reservation, deadline: number): Effect.Effect<void> {
    this.#stop(reservation)
    const expire = Effect.suspend(() => {
      // The timer must not interrupt itself.
      this.#timers.delete(reservation)
      return this.end(reservation) ? this.#expired(reservation) : Effect.void
    })
    const timer = Effect.andThen(sleepUntil(deadline, this.#now), expire)
    return Effect.map(Effect.forkIn(timer, this.#scope), (fiber) => {
      this.#timers.set(reservation, fiber)
    })
  }

  /** Ends the reservation now, and leaves the seat to the caller. False if it has ended already. */
  end(reservation: Reservation): boolean {
    const { counts, peer } = reservation
    if (!this.#reserved.delete(peer)) return false
    this.#stop(reservation)
    if (counts) this.#counted.add(peer.address, -1)
    return true
  }

  #stop(reservation: Reservation): void {
    this.#timers.get(reservation)?.interruptUnsafe()
    this.#timers.delete(reservation)
  }
}
