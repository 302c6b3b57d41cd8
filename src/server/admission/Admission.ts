/**
 * Admission: the only way to a seat. Connecting, `AUTH`, `Hello`, `JOIN`, `NAME` and coming
 * back all end here. It returns a verdict, and the session applies the verdict.
 *
 * Invariant: a client that does not get the seat that it asks for keeps the one that it has.
 */
import { Effect, Exit, Result, Scope } from "effect"
import { DEFAULT_GROUP, memberIdOf } from "../../protocol/Ids.ts"
import type { Groups } from "../../rank/Groups.ts"
import type { Announce } from "../../rank/RankRef.ts"
import * as Roster from "../../rank/Roster.ts"
import type { RefusalCause } from "../events/CloseCause.ts"
import type { Events } from "../events/Events.ts"
import type { Group } from "../group/Group.ts"
import type { Seat } from "../group/Seat.ts"
import type { Peer } from "../Peer.ts"
import type { Bearer } from "./Access.ts"
import type { Reservations } from "./Reservations.ts"

/** A client that asks for a seat. */
export interface Applicant {
  readonly peer: Peer
  readonly bearer: Bearer
  /** The seat that it already has. */
  readonly seat: Seat | undefined
}

/** The seat that the client asks for. */
export interface SeatRequest {
  /** By default the present group, or else `default`, or else the first group that the token allows. */
  readonly group?: string | undefined
  readonly name?: string | undefined
  /** The resume token that it shows. */
  readonly resume?: string | undefined
  /** The largest epoch that it knows of the group in which it gets the seat: if it gets it, the group's epoch is larger. */
  readonly epoch?: number | undefined
  /** Whether the client says that its work in its present seat has ended: `JOIN` does. */
  readonly workEnded?: boolean
  /** Whether the client did not ask: it only connected or authenticated, and may still send a resume token. */
  readonly implicit?: boolean
}

/** The answer to a request. The session applies it. */
export type Verdict =
  | { readonly _tag: "Seated"; readonly seat: Seat; readonly bearer: Bearer; readonly resumed: boolean }
  /** The client stays as it is, and gets an `ERROR`. */
  | { readonly _tag: "Rejected"; readonly reason: "not authorized" | "name taken" | "server full" | "shutting down" }
  /** The client has no seat, and `authTimeout` to get one; then its session ends for `cause`. With a `reason` it gets an `ERROR`. */
  | { readonly _tag: "Waits"; readonly cause: RefusalCause; readonly reason?: "name taken" }
  /** The session ends for `cause`. */
  | { readonly _tag: "Refused"; readonly cause: RefusalCause }

/** Why the client does not get the seat. */
type Failure = "not authorized" | "name taken" | "group full" | "shutting down"

const REJECTED: { readonly [failure in Failure]: (Verdict & { _tag: "Rejected" })["reason"] } = {
  "not authorized": "not authorized",
  "name taken": "name taken",
  "group full": "server full",
  "shutting down": "shutting down"
}

const REFUSED: { readonly [failure in Exclude<Failure, "not authorized">]: RefusalCause } = {
  "name taken": "name taken",
  "group full": "group full",
  "shutting down": "server shutting down"
}

/** Runs in the atomic step in which a member gets its place in the group. */
export type Announcement = (group: Group, resumed: boolean) => Announce<Peer>

export interface AdmissionOptions {
  readonly groups: Groups<Group>
  readonly reservations: Reservations
  readonly events: Events
  /** Whether the server admits no more clients. */
  readonly draining: () => boolean
}

export class Admission {
  readonly #options: AdmissionOptions

  constructor(options: AdmissionOptions) {
    this.#options = options
  }

  /** Gives the client the seat that it asks for, if it may have it. `announce` runs if and when it gets a new seat or name. */
  seat(applicant: Applicant, request: SeatRequest, announce: Announcement): Effect.Effect<Verdict> {
    return Effect.uninterruptible(
      Effect.gen({ self: this }, function* () {
        const resumed = yield* this.#resume(applicant, request, announce)
        if (resumed !== undefined) return resumed
        const seat = yield* this.#enter(applicant, request, announce)
        if (Result.isSuccess(seat)) return seated(seat.success, applicant.bearer, false)
        return this.#judge(applicant, request, seat.failure)
      })
    )
  }

  readonly #resume = Effect.fnUntraced(
    { self: this },
    function* ({ bearer, peer, seat }: Applicant, { epoch, resume }: SeatRequest, announce: Announcement) {
      if (resume === undefined) return undefined
      const { events, reservations } = this.#options
      const resumed = yield* reservations.resume(peer, bearer, resume)
      if (resumed === "own") return seat && seated(yield* keep(seat, epoch), bearer, true)
      if (resumed === undefined) return undefined
      if (seat !== undefined) yield* reservations.vacate(peer, seat, false)
      const { group, member, scope } = resumed.seat
      const now = yield* group.ranks.replace(member.id, peer, announce(group, true), epoch, resumed.name)
      events.resumed(memberIdOf(member.id), now?.name, group.name, peer.address)
      group.followLeader()
      return seated({ group, member: now ?? member, scope }, resumed.bearer, true)
    }
  )

  readonly #enter = Effect.fnUntraced(
    { self: this },
    function* (
      { bearer, peer, seat }: Applicant,
      { epoch, group: asked, name: wanted, workEnded = false }: SeatRequest,
      announce: Announcement
    ): Effect.fn.Return<Result.Result<Seat, Failure>> {
      const { draining, groups, reservations } = this.#options
      const groupName = asked ?? seat?.group.name ?? firstGroupOf(bearer)
      if (!isAllowed(bearer, groupName, wanted)) return Result.fail("not authorized")
      if (seat?.group.name === groupName) {
        return wanted === undefined
          ? Result.succeed(yield* keep(seat, epoch))
          : Result.map(yield* this.#rename(seat, bearer, wanted, announce, epoch), () => seat)
      }
      if (seat === undefined && draining()) return Result.fail("shutting down")
      const name = bearer.name ?? wanted ?? presentName(seat)
      const vacate = seat && reservations.vacate(peer, seat, workEnded)
      const scope = yield* Scope.fork(reservations.scope)
      const group = yield* Scope.provide(groups.enter(groupName), scope)
      const takesNameOf = (holder: Peer) => reservations.givesUpName(holder, bearer)
      const join = group.ranks.join(peer, { id: seat?.member.id, name, epoch, takesNameOf }, announce(group, false))
      const joined = yield* Effect.result(Scope.provide(join, scope))
      if (Result.isFailure(joined)) {
        yield* Scope.close(scope, Exit.void)
        return Result.fail(joined.failure._tag === "GroupFull" ? "group full" : "name taken")
      }
      if (vacate !== undefined) yield* vacate
      return Result.succeed({ group, member: joined.success, scope })
    }
  )

  /** Gives the client this name in its present seat. */
  #rename({ group, member }: Seat, bearer: Bearer, name: string, announce: Announcement, epoch: number | undefined) {
    const takesNameOf = (holder: Peer) => this.#options.reservations.givesUpName(holder, bearer)
    const renamed = group.ranks.rename(member.id, name, announce(group, false), epoch, takesNameOf)
    return Effect.match(renamed, {
      onFailure: (): Result.Result<void, Failure> => Result.fail("name taken"),
      onSuccess: () => Result.succeed(group.notifier.changed())
    })
  }

  #judge({ bearer, seat }: Applicant, { implicit = false }: SeatRequest, failure: Failure): Verdict {
    if (seat !== undefined || failure === "not authorized") return { _tag: "Rejected", reason: REJECTED[failure] }
    // The client may choose another name.
    if (failure === "name taken" && bearer.name === undefined) {
      return { _tag: "Waits", cause: "no seat in time", reason: failure }
    }
    const cause = REFUSED[failure]
    // The client may be a disconnected member that has not sent its resume token yet.
    const mayHaveSeat = implicit && failure !== "shutting down" && this.#options.reservations.any()
    return mayHaveSeat ? { _tag: "Waits", cause } : { _tag: "Refused", cause }
  }
}

const seated = (seat: Seat, bearer: Bearer, resumed: boolean): Verdict => ({ _tag: "Seated", seat, bearer, resumed })

/** The group of a client without a seat that asks for no group. */
const firstGroupOf = ({ grant: { groups } }: Bearer): string =>
  groups === undefined || groups.includes(DEFAULT_GROUP) ? DEFAULT_GROUP : (groups[0] ?? DEFAULT_GROUP)

const isAllowed = ({ grant: { groups }, name: only }: Bearer, group: string, name: string | undefined): boolean =>
  (groups === undefined || groups.includes(group)) && (name === undefined || only === undefined || name === only)

const presentName = (seat: Seat | undefined): string | undefined =>
  seat && Roster.byId(seat.group.ranks.snapshot(), seat.member.id)?.name

/** Leaves the client in its seat. */
const keep = (seat: Seat, epoch: number | undefined): Effect.Effect<Seat> =>
  epoch === undefined ? Effect.succeed(seat) : Effect.as(seat.group.ranks.learn(epoch), seat)
