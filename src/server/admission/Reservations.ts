/**
 * Reserved seats. A member that *loses* its connection keeps its seat for the grace. It is
 * *absent* meanwhile, with its rank, and a client that shows its resume token is this member
 * from then on. A connection that ends in any other way makes the member leave at once.
 *
 * It owns the seats of absent members, and when each reservation ends. Invariant: the limits on
 * connections, in total and per subnet, also apply to absent members.
 */
import { Clock, Duration, Effect, Exit, type Fiber, Scope } from "effect"
import { SubnetCounter } from "../../net/Subnet.ts"
import type { LeaveReason } from "../../protocol/Reasons.ts"
import { abandonDeliveries } from "../commands/Command.ts"
import { giveUp, type Seat } from "../group/Seat.ts"
import type { Peer } from "../Peer.ts"
import type { SettingsValues } from "../Settings.ts"
import { monotonicMillis } from "../time.ts"
import { wakeLater } from "../wakeLater.ts"
import { type Bearer, type Grant, isSameBearer } from "./Access.ts"
import { Backoff } from "./Backoff.ts"
import { type Issued, make as makeTokens, type ResumeToken, type ResumeTokens } from "./ResumeTokens.ts"

/** A connection that ends for one of these reasons is lost. */
const LOST: ReadonlySet<LeaveReason> = new Set(["closed", "reset", "timed out", "internal error"])

/**
 * How long a client waits before it takes over a connection that still exists. Otherwise two
 * clients that share a resume token would disconnect each other without a pause.
 */
const TAKEOVERS = { first: 100, longest: 5000, forgottenAfter: 10_000 }

/** The seat of an absent member. */
interface Reservation {
  readonly peer: Peer
  readonly seat: Seat
  /** Why its connection ended. */
  readonly reason: LeaveReason
  expiry: Fiber.Fiber<void> | undefined
}

type ReservationSettings = Pick<SettingsValues, "grace" | "maxConnections" | "maxConnectionsPerAddress">

/** A seat that a client took over, and the rights of this client. */
export interface Resumed {
  readonly seat: Seat
  readonly bearer: Bearer
}

export class Reservations {
  /** The parent of all seats' scopes: a seat may outlive its connection, and ends with the server. */
  readonly scope: Scope.Closeable
  readonly #settings: ReservationSettings
  readonly #tokens: ResumeTokens
  /** Milliseconds of the monotonic clock. */
  readonly #now: () => number
  readonly #takeovers = new Backoff(TAKEOVERS)
  readonly #reserved = new Map<Peer, Reservation>()
  /** Counts the absent members, by the subnet of their last address. */
  readonly #absent = new SubnetCounter()

  constructor(scope: Scope.Closeable, tokens: ResumeTokens, settings: ReservationSettings, now: () => number) {
    this.scope = scope
    this.#tokens = tokens
    this.#settings = settings
    this.#now = now
  }

  /** A new resume token, not valid until `issue`; undefined if there is no grace. */
  get mint(): Effect.Effect<ResumeToken | undefined> {
    return Duration.isZero(this.#settings.grace) ? Effect.undefined : this.#tokens.mint
  }

  /** Makes this token the one that resumes the peer's seat; an older one is not valid any more. */
  issue(peer: Peer, bearer: Bearer, token: ResumeToken): void {
    this.#tokens.issue(peer, bearer, token)
  }

  /** Whether there is a valid resume token. */
  any(): boolean {
    return this.#tokens.any()
  }

  isAbsent(peer: Peer): boolean {
    return this.#reserved.has(peer)
  }

  /**
   * Reserves or gives up the seat of a peer whose connection ends for this reason. Returns
   * whether the seat is reserved.
   */
  leave(peer: Peer, seat: Seat, reason: LeaveReason): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      const issued = this.#tokens.of(peer)
      if (issued === undefined || !this.#mayReturn(issued, reason)) {
        this.#tokens.forget(peer)
        return Effect.as(giveUp(seat, reason), false)
      }
      return Effect.as(this.#reserve(peer, seat, reason), true)
    })
  }

  /**
   * Gives the peer the seat of this token. If another connection still has the seat, it waits
   * for a moment, longer each time, disconnects that one, and waits until the seat is free; only
   * these waits are interruptible.
   * Returns undefined if the token is not valid or belongs to a bearer with another name or
   * other groups, and `own` if the peer itself has the seat.
   */
  readonly resume = Effect.fnUntraced({ self: this }, function* (peer: Peer, bearer: Bearer, token: string) {
    if (!this.any()) return undefined
    const digest = yield* this.#tokens.digestOf(token)
    for (;;) {
      const issued = this.#tokens.withDigest(digest)
      if (issued === undefined || !isSameBearer(issued.bearer, bearer)) return undefined
      if (issued.peer === peer) return "own"
      const { free, peer: holder } = issued
      const reservation = this.#reserved.get(holder)
      if (reservation !== undefined) return this.#takeOver(issued, reservation, peer, bearer)
      const delay = this.#takeovers.delay(digest, this.#now())
      yield* Effect.interruptible(Effect.timeoutOption(free.await, delay))
      // Meanwhile the holder may have left or lost its connection, or another client may have taken over.
      if (this.#tokens.withDigest(digest)?.peer !== holder || this.isAbsent(holder)) continue
      this.#takeovers.count(digest, this.#now())
      issued.resuming = true
      holder.disconnect("resumed elsewhere")
      yield* Effect.interruptible(free.await)
    }
  })

  /** Gives up at once the seats of absent members whose grants are revoked. */
  revoke(holds: (grant: Grant) => boolean): Effect.Effect<void> {
    const departures = this.#tokens.all().flatMap(({ bearer, peer }) => {
      const reservation = this.#reserved.get(peer)
      if (reservation === undefined || holds(bearer.grant)) return []
      reservation.expiry?.interruptUnsafe()
      return [this.#expire(reservation)]
    })
    // None of them is absent any more when the first one leaves, so that none of them is promoted.
    return Effect.all(departures, { discard: true })
  }

  /** Makes all absent members leave, because the server stops. */
  get close(): Effect.Effect<void> {
    const reason: LeaveReason = "shutting down"
    return Scope.close(this.scope, Exit.succeed(reason))
  }

  #mayReturn({ peer, resuming }: Issued, reason: LeaveReason): boolean {
    if (this.isAbsent(peer)) return false
    if (resuming) return true
    const { maxConnections, maxConnectionsPerAddress } = this.#settings
    const hasRoom = this.#absent.total < maxConnections && this.#absent.of(peer.address) < maxConnectionsPerAddress
    return LOST.has(reason) && hasRoom
  }

  #reserve(peer: Peer, seat: Seat, reason: LeaveReason): Effect.Effect<void> {
    const reservation: Reservation = { peer, seat, reason, expiry: undefined }
    this.#reserved.set(peer, reservation)
    this.#absent.add(peer.address, 1)
    // Open commands to it end as if it had left. Commands that reach it from now on are `undelivered`.
    abandonDeliveries(peer)
    seat.group.notifier.unwatch(peer)
    seat.group.followLeader()
    const expiry = Effect.delay(
      Effect.suspend(() => this.#expire(reservation)),
      this.#settings.grace
    )
    return Effect.map(Effect.forkIn(expiry, this.scope), (fiber) => {
      reservation.expiry = fiber
      wakeLater(() => this.#tokens.of(peer)?.free.openUnsafe())
    })
  }

  #takeOver(issued: Issued, reservation: Reservation, peer: Peer, bearer: Bearer): Resumed {
    this.#end(reservation)
    reservation.expiry?.interruptUnsafe()
    // The rate limiter stays the same: coming back does not refill it.
    this.#tokens.pass(issued, peer, { ...bearer, rate: issued.bearer.rate })
    return { seat: reservation.seat, bearer: issued.bearer }
  }

  /** Ends the reservation: the member leaves, with the reason for which its connection was lost. */
  #expire(reservation: Reservation): Effect.Effect<void> {
    if (!this.#end(reservation)) return Effect.void
    this.#tokens.forget(reservation.peer)
    return giveUp(reservation.seat, reservation.reason)
  }

  /** False if it has ended already. */
  #end({ peer }: Reservation): boolean {
    if (!this.#reserved.delete(peer)) return false
    this.#absent.add(peer.address, -1)
    return true
  }
}

export const make = Effect.fnUntraced(function* (settings: ReservationSettings) {
  const now = monotonicMillis(yield* Clock.Clock)
  return new Reservations(yield* Scope.fork(yield* Effect.scope), yield* makeTokens, settings, now)
})
