/**
 * Reserved seats. A member that *loses* its connection keeps its seat for the grace. It is
 * *absent* meanwhile, with its rank, and a client that shows its resume token is this member
 * from then on. A member at rank 0 with a lease keeps its seat until the lease has ended, too,
 * however its connection ends, unless it has left of its own will. Any other member leaves at once.
 *
 * It decides which seats are reserved and for how long, and who gets them; `ReservedSeats` owns
 * them. Invariants: nobody is promoted past a lease that may still run. The limits on connections,
 * in total and per subnet, also apply to members that are absent for the grace.
 */
import { Clock, Duration, Effect, Exit, Scope } from "effect"
import type { LeaveReason } from "../../protocol/Reasons.ts"
import * as Roster from "../../rank/Roster.ts"
import { abandonDeliveries } from "../commands/Command.ts"
import type { LeadIns } from "../group/LeadIns.ts"
import { giveUp, type Seat } from "../group/Seat.ts"
import type { Peer } from "../Peer.ts"
import type { SettingsValues } from "../Settings.ts"
import { monotonicMillis } from "../time.ts"
import { wakeLater } from "../wakeLater.ts"
import { type Bearer, type Grant, isSameBearer } from "./Access.ts"
import { Backoff } from "./Backoff.ts"
import { type Reservation, ReservedSeats } from "./ReservedSeats.ts"
import { type Issued, make as makeTokens, type ResumeToken, type ResumeTokens } from "./ResumeTokens.ts"

/** A member whose connection ends for one of these reasons may come back within the grace. */
const LOST: ReadonlySet<LeaveReason> = new Set(["closed", "reset", "timed out", "internal error"])

/**
 * For these reasons a lease ends with the connection: the client says `QUIT` when its work has ended, and a server
 * that stops promotes nobody.
 */
const LEASE_ENDS: ReadonlySet<LeaveReason> = new Set(["quit", "shutting down"])

/** Without a grace, how long a seat waits for the connection that takes it over, in milliseconds. */
const HANDOVER = 1000

/**
 * How long a client waits before it takes over a connection that still exists. Otherwise two
 * clients that share a resume token would disconnect each other without a pause.
 */
const TAKEOVERS = { first: 100, longest: 5000, forgottenAfter: 10_000 }

/**
 * The takeover of a leader waits for this part of what is left of its lease, at most: the client may be the same, on
 * another connection, and its work may have to stop soon.
 */
const LEADER_SHARE = 1 / 20

type ReservationSettings = Pick<SettingsValues, "grace" | "maxConnections" | "maxConnectionsPerAddress">

/** A seat that a client took over, and the rights of this client. */
export interface Resumed {
  readonly seat: Seat
  readonly bearer: Bearer
  /** The name that the member had. */
  readonly name: string | undefined
}

export class Reservations {
  /** The parent of all seats' scopes: a seat may outlive its connection, and ends with the server. */
  readonly scope: Scope.Closeable
  readonly #settings: ReservationSettings
  readonly #tokens: ResumeTokens
  readonly #leadIns: LeadIns
  /** Milliseconds of the monotonic clock. */
  readonly #now: () => number
  readonly #takeovers = new Backoff(TAKEOVERS)
  readonly #seats: ReservedSeats

  constructor(
    scope: Scope.Closeable,
    tokens: ResumeTokens,
    leadIns: LeadIns,
    settings: ReservationSettings,
    now: () => number
  ) {
    this.scope = scope
    this.#tokens = tokens
    this.#leadIns = leadIns
    this.#settings = settings
    this.#now = now
    this.#seats = new ReservedSeats(scope, now, (reservation) => this.#giveUp(reservation))
  }

  /** A new resume token, not valid until `issue`; undefined if the seat of such a client is never reserved. */
  mint(hasLease: boolean): Effect.Effect<ResumeToken | undefined> {
    return hasLease || !Duration.isZero(this.#settings.grace) ? this.#tokens.mint : Effect.undefined
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
    return this.#seats.of(peer) !== undefined
  }

  /** Whether the member is absent and had a lease at rank 0: it only keeps others from this rank. */
  isPlaceholder(peer: Peer): boolean {
    return (this.#seats.of(peer)?.leasedUntil ?? 0) > 0
  }

  /** Whether a newcomer with these rights may have the name of this member: it may be the same program, restarted. */
  givesUpName(peer: Peer, newcomer: Bearer): boolean {
    const bearer = this.#seats.of(peer)?.bearer
    return this.isPlaceholder(peer) && bearer !== undefined && isSameBearer(bearer, newcomer)
  }

  /**
   * Reserves or gives up the seat of a peer whose connection ends for this reason. Returns
   * whether the seat is reserved.
   */
  leave(peer: Peer, seat: Seat, reason: LeaveReason): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      const now = this.#now()
      const issued = this.#tokens.of(peer)
      const grace = issued === undefined ? 0 : this.#graceFor(issued, reason)
      const leasedUntil = this.#leasedUntil(peer, seat, reason)
      // A token that was taken back resumes nothing.
      if (reason === "kicked" && !issued?.resuming) this.#tokens.forget(peer)
      if (this.isAbsent(peer) || (grace === 0 && leasedUntil <= now)) {
        this.#tokens.forget(peer)
        return Effect.as(giveUp(seat, reason), false)
      }
      const { group, member } = seat
      const reservation: Reservation = {
        peer,
        seat,
        name: Roster.byId(group.ranks.snapshot(), member.id)?.name,
        bearer: issued?.bearer,
        reason,
        leasedUntil,
        counts: grace > 0
      }
      return Effect.as(this.#reserve(reservation, Math.max(now + grace, leasedUntil)), true)
    })
  }

  /**
   * Gives up the seat of a peer that gets another one. To be called before it gets that one. If its work may not have
   * ended, the next leader waits until its lease has.
   */
  vacate(peer: Peer, seat: Seat, workEnded: boolean): Effect.Effect<void> {
    const reason: LeaveReason = "joined another group"
    const until = workEnded ? 0 : this.#leasedUntil(peer, seat, reason)
    return Effect.suspend(() => {
      this.#leadIns.defer(seat.group.name, until)
      return giveUp(seat, reason)
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
      const reservation = this.#seats.of(holder)
      if (reservation !== undefined) return this.#takeOver(issued, reservation, peer, bearer)
      const now = this.#now()
      const left = holder.lastRankSent === 0 && holder.lease !== undefined ? holder.lease.until - now : undefined
      const longest = left === undefined ? Number.POSITIVE_INFINITY : Math.max(0, left * LEADER_SHARE)
      const delay = Math.min(longest, this.#takeovers.delay(digest, now))
      yield* Effect.interruptible(Effect.timeoutOption(free.await, delay))
      // Meanwhile the holder may have left or lost its connection, or another client may have taken over.
      if (this.#tokens.withDigest(digest)?.peer !== holder || this.isAbsent(holder)) continue
      // A session that ends already has another cause, which decides.
      if (!holder.leaving) {
        this.#takeovers.count(digest, this.#now())
        issued.resuming = true
        holder.disconnect("resumed elsewhere")
      }
      yield* Effect.interruptible(free.await)
    }
  })

  /** Gives up the seats of absent members whose grants are revoked: at once, or when their leases have ended. */
  revoke(holds: (grant: Grant) => boolean): Effect.Effect<void> {
    const now = this.#now()
    const revoked = this.#seats.all().filter(({ bearer }) => bearer !== undefined && !holds(bearer.grant))
    // None of them is absent any more when the first one leaves, so that none of them is promoted.
    const departures = revoked.map((reservation) => {
      const { leasedUntil, peer } = reservation
      this.#tokens.forget(peer)
      if (leasedUntil > now) return this.#seats.endAt(reservation, leasedUntil)
      this.#seats.end(reservation)
      return this.#giveUp(reservation)
    })
    return Effect.all(departures, { discard: true })
  }

  /** Makes all absent members leave, because the server stops. */
  get close(): Effect.Effect<void> {
    const reason: LeaveReason = "shutting down"
    return Scope.close(this.scope, Exit.succeed(reason))
  }

  /** How long the client may come back if its connection ends for this reason, whatever its lease. */
  #graceFor({ peer, resuming }: Issued, reason: LeaveReason): number {
    const grace = Duration.toMillis(this.#settings.grace)
    if (resuming) return grace > 0 ? grace : HANDOVER
    const { maxConnections, maxConnectionsPerAddress } = this.#settings
    const { subnet, total } = this.#seats.counted(peer.address)
    return LOST.has(reason) && total < maxConnections && subnet < maxConnectionsPerAddress ? grace : 0
  }

  /** When the leases have ended that keep others from the rank of this member; 0 if there are none. */
  #leasedUntil({ lastRankSent, lease }: Peer, { group, member }: Seat, reason: LeaveReason): number {
    // A member that has not received rank 0 does not act on it.
    const leads = lastRankSent === 0 && Roster.at(group.ranks.snapshot(), 0)?.id === member.id
    if (!leads || LEASE_ENDS.has(reason)) return 0
    return Math.max(lease?.until ?? 0, this.#leadIns.leasedUntil(group.name))
  }

  #reserve(reservation: Reservation, deadline: number): Effect.Effect<void> {
    const { peer, seat } = reservation
    const reserved = this.#seats.add(reservation, deadline)
    // Open commands to it end as if it had left. Commands that reach it from now on are `undelivered`.
    abandonDeliveries(peer)
    seat.group.notifier.unwatch(peer)
    seat.group.followLeader()
    return Effect.map(reserved, () => wakeLater(() => this.#tokens.of(peer)?.free.openUnsafe()))
  }

  #takeOver(issued: Issued, reservation: Reservation, peer: Peer, bearer: Bearer): Resumed {
    const { leasedUntil, name, seat } = reservation
    this.#seats.end(reservation)
    // The process that had the seat may work until then, and the one that resumes it may be another.
    this.#leadIns.defer(seat.group.name, leasedUntil)
    // The rate limiter stays the same: coming back does not refill it.
    this.#tokens.pass(issued, peer, { ...bearer, rate: issued.bearer.rate })
    return { seat, bearer: issued.bearer, name }
  }

  /** The reservation has ended: the member leaves, with the reason for which its connection was lost. */
  #giveUp({ peer, reason, seat }: Reservation): Effect.Effect<void> {
    this.#tokens.forget(peer)
    return giveUp(seat, reason)
  }
}

export const make = Effect.fnUntraced(function* (settings: ReservationSettings, leadIns: LeadIns) {
  const now = monotonicMillis(yield* Clock.Clock)
  return new Reservations(yield* Scope.fork(yield* Effect.scope), yield* makeTokens, leadIns, settings, now)
})
