/**
 * Reserved seats. With a grace, a member whose connection is *lost* keeps its seat for
 * so long: it stays where it is, absent, and a client that shows its resume token is
 * that member from then on. In any other way a member leaves for good, and at once.
 *
 * It owns the resume tokens that are out, and the seats of absent members. At most as many
 * members are absent as there may be connections.
 */
import { Duration, Effect, Exit, type Fiber, Latch, Scope } from "effect"
import { SubnetCounter } from "../../net/Subnet.ts"
import type { LeaveReason } from "../../protocol/Reasons.ts"
import { abandonDeliveries } from "../commands/Command.ts"
import { giveUp, type Seat } from "../group/Seat.ts"
import type { Peer } from "../Peer.ts"
import type { SettingsValues } from "../Settings.ts"
import { wakeLater } from "../wakeLater.ts"
import { type Bearer, type Grant, isSameBearer } from "./Access.ts"
import { make as makeTokens, type ResumeToken, type ResumeTokens } from "./ResumeTokens.ts"

/** Connections that end like this are lost; in any other way the member leaves for good. */
const LOST: ReadonlySet<LeaveReason> = new Set(["closed", "reset", "timed out", "internal error"])

/** A resume token that is out, and the member that it is for. */
interface Reservation {
  readonly digest: string
  peer: Peer
  bearer: Bearer
  /** The seat of an absent member. */
  absent: { readonly seat: Seat; readonly reason: LeaveReason } | undefined
  expiry: Fiber.Fiber<void> | undefined
  /** Whether another connection has shown the token: then this one counts as lost, however it ends. */
  claimed: boolean
  /** Open when the seat is free to be taken over, and when the reservation is gone. */
  readonly free: Latch.Latch
}

type ReservationSettings = Pick<SettingsValues, "grace" | "maxConnections" | "maxConnectionsPerAddress">

/** A seat that was taken over, and the rights of its new holder. */
export interface Resumed {
  readonly seat: Seat
  readonly bearer: Bearer
}

export class Reservations {
  /** Seats are taken in it: they outlive connections, and end with the server. */
  readonly scope: Scope.Closeable
  readonly #settings: ReservationSettings
  readonly #tokens: ResumeTokens
  readonly #byDigest = new Map<string, Reservation>()
  readonly #byPeer = new Map<Peer, Reservation>()
  /** Absent members, by the address that they had. */
  readonly #absent = new SubnetCounter()

  constructor(scope: Scope.Closeable, tokens: ResumeTokens, settings: ReservationSettings) {
    this.scope = scope
    this.#tokens = tokens
    this.#settings = settings
  }

  /** A new resume token, to be `issue`d; undefined where there is no grace. */
  get mint(): Effect.Effect<ResumeToken | undefined> {
    return Duration.isZero(this.#settings.grace) ? Effect.undefined : this.#tokens.mint
  }

  /** The peer's seat is resumed by this token from now on, and by no older one. */
  issue(peer: Peer, bearer: Bearer, { digest }: ResumeToken): void {
    this.#forget(this.#byPeer.get(peer))
    const reservation: Reservation = {
      digest,
      peer,
      bearer,
      absent: undefined,
      expiry: undefined,
      claimed: false,
      free: Latch.makeUnsafe(false)
    }
    this.#byDigest.set(digest, reservation)
    this.#byPeer.set(peer, reservation)
  }

  /** Whether any resume token is out. */
  any(): boolean {
    return this.#byDigest.size > 0
  }

  isAbsent(peer: Peer): boolean {
    return this.#byPeer.get(peer)?.absent !== undefined
  }

  /**
   * The peer's connection ends for this reason. Reserves its seat, where it is lost and
   * may come back; else gives the seat up. Returns whether it is reserved.
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
   * Takes over the seat that the token is for; undefined where there is none, or it is
   * for a bearer of other rights, `own` where the peer has that very seat. A connection
   * that still has the seat is closed first. To be interrupted only while it waits for that.
   */
  readonly resume = Effect.fnUntraced({ self: this }, function* (peer: Peer, bearer: Bearer, token: string) {
    if (Duration.isZero(this.#settings.grace)) return undefined
    const digest = yield* this.#tokens.digestOf(token)
    for (;;) {
      const reservation = this.#byDigest.get(digest)
      if (reservation === undefined || !isSameBearer(reservation.bearer, bearer)) return undefined
      if (reservation.peer === peer) return "own"
      const { absent } = reservation
      if (absent !== undefined) return this.#takeOver(reservation, absent.seat, peer, bearer)
      reservation.claimed = true
      reservation.peer.disconnect("resumed elsewhere")
      yield* Effect.interruptible(reservation.free.await)
    }
  })

  /** Gives up, before their time, the seats of absent members whose grant is revoked. */
  revoke(holds: (grant: Grant) => boolean): Effect.Effect<void> {
    const revoked = [...this.#byDigest.values()].filter(({ absent, bearer }) => absent && !holds(bearer.grant))
    // All of them are absent no more before the first leaves: none of them is promoted by that.
    const departures = revoked.map((reservation) => {
      reservation.expiry?.interruptUnsafe()
      return this.#expire(reservation)
    })
    return Effect.all(departures, { discard: true })
  }

  /** The server stops: absent members leave. */
  get close(): Effect.Effect<void> {
    const reason: LeaveReason = "shutting down"
    return Scope.close(this.scope, Exit.succeed(reason))
  }

  #mayReturn({ absent, claimed, peer }: Reservation, reason: LeaveReason): boolean {
    if (absent !== undefined) return false
    if (claimed) return true
    const { maxConnections, maxConnectionsPerAddress } = this.#settings
    const isRoom = this.#absent.total < maxConnections && this.#absent.of(peer.address) < maxConnectionsPerAddress
    return LOST.has(reason) && isRoom
  }

  #reserve(reservation: Reservation, seat: Seat, reason: LeaveReason): Effect.Effect<void> {
    const { peer } = reservation
    reservation.absent = { seat, reason }
    this.#absent.add(peer.address, 1)
    // Its commands end as if it had left, and those that reach it from now on are undelivered.
    peer.outbox.close()
    abandonDeliveries(peer)
    seat.group.notifier.unwatch(peer)
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
    // The commands that it may still issue in this second, it may not issue twice by coming back.
    reservation.bearer = { ...bearer, rate: reservation.bearer.rate }
    reservation.peer = peer
    reservation.absent = undefined
    reservation.expiry = undefined
    reservation.claimed = false
    reservation.free.closeUnsafe()
    expiry?.interruptUnsafe()
    return { seat, bearer: reservation.bearer }
  }

  /** The grace is over: the member leaves as it would have when it was lost. */
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
  return new Reservations(yield* Scope.fork(yield* Effect.scope), yield* makeTokens, settings)
})
