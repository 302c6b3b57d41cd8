/**
 * Reserved seats. A member that *loses* its connection keeps its seat for the grace. It is
 * *absent* meanwhile, with its rank, and a client that shows its resume token is this member
 * from then on. A connection that ends in any other way makes the member leave at once.
 *
 * It owns the valid resume tokens and the seats of absent members. Invariant: the limits on
 * connections, in total and per subnet, also apply to absent members.
 */
import { Clock, Duration, Effect, Exit, type Fiber, Latch, Scope } from "effect"
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
import { make as makeTokens, type ResumeToken, type ResumeTokens } from "./ResumeTokens.ts"

/** A connection that ends for one of these reasons is lost. */
const LOST: ReadonlySet<LeaveReason> = new Set(["closed", "reset", "timed out", "internal error"])

/**
 * How long a client waits before it takes over a connection that still exists. Otherwise two
 * clients that share a resume token would disconnect each other without a pause.
 */
const TAKEOVERS = { first: 100, longest: 5000, forgottenAfter: 10_000 }

/** A valid resume token, and its member. */
interface Reservation {
  readonly digest: string
  peer: Peer
  bearer: Bearer
  /** The reserved seat; undefined while the member is connected. */
  absent: { readonly seat: Seat; readonly reason: LeaveReason } | undefined
  expiry: Fiber.Fiber<void> | undefined
  /** Whether another connection has shown the token: then the present one counts as lost, whatever the reason. */
  resuming: boolean
  /** Opens when another connection may take over the seat, and when the reservation ends. */
  readonly free: Latch.Latch
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
  readonly #byDigest = new Map<string, Reservation>()
  readonly #byPeer = new Map<Peer, Reservation>()
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
  issue(peer: Peer, bearer: Bearer, { digest }: ResumeToken): void {
    this.#forget(this.#byPeer.get(peer))
    const reservation: Reservation = {
      digest,
      peer,
      bearer,
      absent: undefined,
      expiry: undefined,
      resuming: false,
      free: Latch.makeUnsafe(false)
    }
    this.#byDigest.set(digest, reservation)
    this.#byPeer.set(peer, reservation)
  }

  /** Whether there is a valid resume token. */
  any(): boolean {
    return this.#byDigest.size > 0
  }

  isAbsent(peer: Peer): boolean {
    return this.#byPeer.get(peer)?.absent !== undefined
  }

  /**
   * Reserves or gives up the seat of a peer whose connection ends for this reason. Returns
   * whether the seat is reserved.
   */
  leave(peer: Peer, seat: Seat, reason: LeaveReason): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      const reservation = this.#byPeer.get(peer)
      if (reservation === undefined || !this.#mayReturn(reservation, reason)) {
        this.#forget(reservation)
        return Effect.as(giveUp(seat, reason), false)
      }
      return Effect.as(this.#reserve(reservation, seat, reason), true)
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
    if (Duration.isZero(this.#settings.grace)) return undefined
    const digest = yield* this.#tokens.digestOf(token)
    for (;;) {
      const reservation = this.#byDigest.get(digest)
      if (reservation === undefined || !isSameBearer(reservation.bearer, bearer)) return undefined
      if (reservation.peer === peer) return "own"
      const { absent, free, peer: holder } = reservation
      if (absent !== undefined) return this.#takeOver(reservation, absent.seat, peer, bearer)
      const delay = this.#takeovers.delay(digest, this.#now())
      yield* Effect.interruptible(Effect.timeoutOption(free.await, delay))
      // Meanwhile the holder may have left or lost its connection, or another client may have taken over.
      const now = this.#byDigest.get(digest)
      if (now === undefined || now.peer !== holder || now.absent !== undefined) continue
      this.#takeovers.count(digest, this.#now())
      reservation.resuming = true
      holder.disconnect("resumed elsewhere")
      yield* Effect.interruptible(free.await)
    }
  })

  /** Gives up at once the seats of absent members whose grants are revoked. */
  revoke(holds: (grant: Grant) => boolean): Effect.Effect<void> {
    const revoked = [...this.#byDigest.values()].filter(({ absent, bearer }) => absent && !holds(bearer.grant))
    // None of them is absent any more when the first one leaves, so that none of them is promoted.
    const departures = revoked.map((reservation) => {
      reservation.expiry?.interruptUnsafe()
      return this.#expire(reservation)
    })
    return Effect.all(departures, { discard: true })
  }

  /** Makes all absent members leave, because the server stops. */
  get close(): Effect.Effect<void> {
    const reason: LeaveReason = "shutting down"
    return Scope.close(this.scope, Exit.succeed(reason))
  }

  #mayReturn({ absent, peer, resuming }: Reservation, reason: LeaveReason): boolean {
    if (absent !== undefined) return false
    if (resuming) return true
    const { maxConnections, maxConnectionsPerAddress } = this.#settings
    const hasRoom = this.#absent.total < maxConnections && this.#absent.of(peer.address) < maxConnectionsPerAddress
    return LOST.has(reason) && hasRoom
  }

  #reserve(reservation: Reservation, seat: Seat, reason: LeaveReason): Effect.Effect<void> {
    const { peer } = reservation
    reservation.absent = { seat, reason }
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
      wakeLater(() => reservation.free.openUnsafe())
    })
  }

  #takeOver(reservation: Reservation, seat: Seat, peer: Peer, bearer: Bearer): Resumed {
    const { expiry } = reservation
    this.#absent.add(reservation.peer.address, -1)
    this.#forget(this.#byPeer.get(peer))
    this.#byPeer.delete(reservation.peer)
    this.#byPeer.set(peer, reservation)
    // The rate limiter stays the same: coming back does not refill it.
    reservation.bearer = { ...bearer, rate: reservation.bearer.rate }
    reservation.peer = peer
    reservation.absent = undefined
    reservation.expiry = undefined
    reservation.resuming = false
    reservation.free.closeUnsafe()
    expiry?.interruptUnsafe()
    return { seat, bearer: reservation.bearer }
  }

  /** Ends the reservation: the member leaves, with the reason for which its connection was lost. */
  #expire(reservation: Reservation): Effect.Effect<void> {
    const { absent, peer } = reservation
    if (absent === undefined) return Effect.void
    reservation.absent = undefined
    this.#absent.add(peer.address, -1)
    this.#forget(reservation)
    return giveUp(absent.seat, absent.reason)
  }

  #forget(reservation: Reservation | undefined): void {
    if (reservation === undefined) return
    this.#byDigest.delete(reservation.digest)
    this.#byPeer.delete(reservation.peer)
    wakeLater(() => reservation.free.openUnsafe())
  }
}

export const make = Effect.fnUntraced(function* (settings: ReservationSettings) {
  const now = monotonicMillis(yield* Clock.Clock)
  return new Reservations(yield* Scope.fork(yield* Effect.scope), yield* makeTokens, settings, now)
})
