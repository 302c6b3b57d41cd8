/**
 * The only way in: connecting, `AUTH`, `Hello`, `JOIN` and coming back all end here. It
 * returns a verdict and tells nobody; the session applies the verdict.
 *
 * A client that has a seat keeps it whenever it does not get the one that it asks for.
 */
import { Effect, Exit, Result, Scope } from "effect"
import { DEFAULT_GROUP, memberIdOf } from "../../protocol/Ids.ts"
import type { Groups } from "../../rank/Groups.ts"
import type { Announce } from "../../rank/RankRef.ts"
import * as Roster from "../../rank/Roster.ts"
import type { RefusalCause } from "../events/CloseCause.ts"
import type { Events } from "../events/Events.ts"
import type { Group } from "../group/Group.ts"
import { giveUp, type Seat } from "../group/Seat.ts"
import type { Peer } from "../Peer.ts"
import type { Bearer } from "./Access.ts"
import type { Reservations } from "./Reservations.ts"

/** A client that asks for a seat. */
export interface Applicant {
  readonly peer: Peer
  readonly bearer: Bearer
  /** The seat that it has already. */
  readonly seat: Seat | undefined
}

export interface SeatRequest {
  /** By default the group that it is in, or the first that it may be in. */
  readonly group?: string | undefined
  readonly name?: string | undefined
  /** The resume token of the member that it was. */
  readonly resume?: string | undefined
  /** Whether the server asks, since the client has connected or authenticated: the client may have more to say. */
  readonly implicit?: boolean
}

export type Verdict =
  | { readonly _tag: "Seated"; readonly seat: Seat; readonly bearer: Bearer; readonly resumed: boolean }
  /** It stays as it is, and gets an `ERROR`. */
  | { readonly _tag: "Rejected"; readonly reason: "not authorized" | "name taken" | "server full" | "shutting down" }
  /** It has no seat, and so much time to get one; else it is closed, for `cause`. It gets an `ERROR` where it asked itself. */
  | { readonly _tag: "Waits"; readonly cause: RefusalCause; readonly reason?: "name taken" }
  /** It is closed. */
  | { readonly _tag: "Refused"; readonly cause: RefusalCause }

/** Why there is no seat. */
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
  /** Whether the server takes no newcomers any more. */
  readonly draining: () => boolean
}

export class Admission {
  readonly #options: AdmissionOptions

  constructor(options: AdmissionOptions) {
    this.#options = options
  }

  /** Seats the client where it asks to be, if it may; `announce` runs as it gets there, and only then. */
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
    function* ({ bearer, peer, seat }: Applicant, { resume }: SeatRequest, announce: Announcement) {
      if (resume === undefined) return undefined
      const { events, reservations } = this.#options
      const resumed = yield* reservations.resume(peer, bearer, resume)
      if (resumed === "own") return seat && seated(seat, bearer, true)
      if (resumed === undefined) return undefined
      if (seat !== undefined) yield* giveUp(seat, "joined another group")
      const { group, member, scope } = resumed.seat
      const now = yield* group.ranks.replace(member.id, peer, announce(group, true))
      events.resumed(memberIdOf(member.id), now?.name, group.name, peer.address)
      return seated({ group, member: now ?? member, scope }, resumed.bearer, true)
    }
  )

  readonly #enter = Effect.fnUntraced(
    { self: this },
    function* (
      { bearer, peer, seat }: Applicant,
      { group: asked, name: wanted }: SeatRequest,
      announce: Announcement
    ): Effect.fn.Return<Result.Result<Seat, Failure>> {
      const { draining, groups, reservations } = this.#options
      const groupName = asked ?? seat?.group.name ?? homeOf(bearer)
      if (!isAllowed(bearer, groupName, wanted)) return Result.fail("not authorized")
      if (seat?.group.name === groupName) return yield* rename(seat, wanted, announce)
      if (seat === undefined && draining()) return Result.fail("shutting down")
      const name = bearer.name ?? wanted ?? nameNow(seat)
      const scope = yield* Scope.fork(reservations.scope)
      const group = yield* Scope.provide(groups.enter(groupName), scope)
      const join = group.ranks.join(peer, { id: seat?.member.id, name }, announce(group, false))
      const joined = yield* Effect.result(Scope.provide(join, scope))
      if (Result.isFailure(joined)) {
        yield* Scope.close(scope, Exit.void)
        return Result.fail(joined.failure._tag === "GroupFull" ? "group full" : "name taken")
      }
      if (seat !== undefined) yield* giveUp(seat, "joined another group")
      return Result.succeed({ group, member: joined.success, scope })
    }
  )

  #judge({ bearer, seat }: Applicant, { implicit = false }: SeatRequest, failure: Failure): Verdict {
    if (seat !== undefined || failure === "not authorized") return { _tag: "Rejected", reason: REJECTED[failure] }
    // It may choose another name.
    if (failure === "name taken" && bearer.name === undefined) {
      return { _tag: "Waits", cause: "no seat in time", reason: failure }
    }
    const cause = REFUSED[failure]
    // It may be one of those whose seats are reserved, and has yet to say so.
    return implicit && this.#options.reservations.any() ? { _tag: "Waits", cause } : { _tag: "Refused", cause }
  }
}

const seated = (seat: Seat, bearer: Bearer, resumed: boolean): Verdict => ({ _tag: "Seated", seat, bearer, resumed })

/** The group of a client that asks for none. */
const homeOf = ({ grant: { groups } }: Bearer): string =>
  groups === undefined || groups.includes(DEFAULT_GROUP) ? DEFAULT_GROUP : (groups[0] ?? DEFAULT_GROUP)

const isAllowed = ({ grant: { groups }, name: only }: Bearer, group: string, name: string | undefined): boolean =>
  (groups === undefined || groups.includes(group)) && (name === undefined || only === undefined || name === only)

const nameNow = (seat: Seat | undefined): string | undefined =>
  seat && Roster.byId(seat.group.ranks.snapshot(), seat.member.id)?.name

/** Takes the name that is asked for, if one is, in the seat that it has. */
const rename = (seat: Seat, name: string | undefined, announce: Announcement) => {
  if (name === undefined) return Effect.succeed(Result.succeed(seat))
  const { group, member } = seat
  return Effect.match(group.ranks.rename(member.id, name, announce(group, false)), {
    onFailure: (): Result.Result<Seat, Failure> => Result.fail("name taken"),
    onSuccess: () => {
      group.notifier.changed()
      return Result.succeed(seat)
    }
  })
}
