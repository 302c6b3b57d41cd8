/** Gets a session its seat: asks `Admission`, applies the verdict, and answers the client. */
import { Duration, Effect, Result } from "effect"
import { memberIdOf } from "../../protocol/Ids.ts"
import { type ClientMessage, PROTOCOL_VERSION } from "../../protocol/Messages.ts"
import * as Roster from "../../rank/Roster.ts"
import type { Bearer } from "../admission/Access.ts"
import type { Announcement, SeatRequest, Verdict } from "../admission/Admission.ts"
import type { Group } from "../group/Group.ts"
import type { Seat } from "../group/Seat.ts"
import { Lease, SILENCE } from "../Lease.ts"
import { NO_RANK, type Peer } from "../Peer.ts"
import { type ClientSession, Seated } from "./ClientSession.ts"
import { close, DONE, reject, type Step, wait } from "./Step.ts"

/** Notes that the client is authenticated. */
export const authenticated = (session: ClientSession, bearer: Bearer): void =>
  session.enter({ _tag: "AwaitingSeat", bearer, limit: undefined })

/** Gives a client that has connected or authenticated a seat, with `--admission connect`. */
export const seatOnArrival = (session: ClientSession): Effect.Effect<Step> =>
  session.context.settings.admission === "connect" ? takeSeat(session, { implicit: true }) : Effect.succeed(DONE)

/** `AUTH`. */
export const authenticate = (session: ClientSession, token: string): Effect.Effect<Step> =>
  afterToken(session, token, () => seatOnArrival(session))

/** `JOIN`. A member that joins its own group steps down. */
export const join = (session: ClientSession, group: string): Effect.Effect<Step> => {
  const { state } = session
  return state._tag === "Seated" && state.seat.group.name === group
    ? stepDown(session, state.seat)
    : takeSeat(session, { group, workEnded: true })
}

/** `NAME`. */
export const rename = (session: ClientSession, name: string): Effect.Effect<Step> =>
  takeSeat(session, { name }, () => () => {})

/** `YIELD`. */
export const stepDown = (session: ClientSession, { group, member }: Seat): Effect.Effect<Step> =>
  Effect.map(group.ranks.stepDown(member.id), () => {
    session.look()
    group.notifier.changed()
    return DONE
  })

type Hello = ClientMessage & { readonly _tag: "Hello" }

/** `Hello`. */
export const hello = (session: ClientSession, message: Hello): Step => {
  session.greeted = true
  if (message.protocol !== PROTOCOL_VERSION) {
    return reject("malformed", `this server speaks protocol ${PROTOCOL_VERSION}`)
  }
  const fault = faultOfLease(session, message)
  if (fault !== undefined) return reject("malformed", fault)
  const { state } = session
  if (state._tag !== "Unauthenticated" || message.token === undefined) return wait(greet(session, message))
  return wait(afterToken(session, message.token, () => greet(session, message)))
}

/** A lease lasts as long as the connection: a later `Hello` changes at most its heartbeat. */
const hasLease = (session: ClientSession, { lease }: Hello): boolean => lease === true || session.lease !== undefined

/** Why the client cannot have the lease that it asks for; undefined if it can, or asks for none. */
const faultOfLease = (session: ClientSession, message: Hello): string | undefined => {
  const { heartbeat, lease } = message
  if (heartbeat === undefined) return lease && "lease: needs heartbeat"
  const settle = Duration.toMillis(session.context.settings.settle)
  // After a restart the server waits for `settle`, and a lease that it does not know must have ended by then.
  const longest = Math.floor(settle / SILENCE)
  if (settle === 0 || heartbeat <= longest || !hasLease(session, message)) return undefined
  return `heartbeat: with a lease at most ${longest} milliseconds; choose a shorter one, or raise --settle (${settle / 1000} seconds)`
}

const afterToken = Effect.fnUntraced(function* (
  session: ClientSession,
  token: string,
  next: () => Effect.Effect<Step>
): Effect.fn.Return<Step> {
  const bearer = yield* session.context.authenticator.authenticate(session, token)
  if (Result.isFailure(bearer)) return close(bearer.failure)
  authenticated(session, bearer.success)
  return yield* next()
})

/** An app that embeds the server may set any duration, infinity included. */
const wholeMillis = (duration: Duration.Duration): number =>
  Math.min(Math.ceil(Duration.toMillis(duration)), Number.MAX_SAFE_INTEGER)

/**
 * Sends `Welcome` in the atomic step in which the client gets its seat, so that no command
 * comes before it. The resume token is made earlier, because its digest needs an effect.
 */
const greet = Effect.fnUntraced(function* (session: ClientSession, message: Hello): Effect.fn.Return<Step> {
  const { context } = session
  const { epoch, group, heartbeat, name, resume } = message
  const leased = hasLease(session, message)
  const minted = yield* context.reservations.mint(leased)
  let welcomed = false
  const welcome = (
    { name: group }: Group,
    member: Roster.Member<Peer>,
    rank: number,
    roster: Roster.Roster<Peer>,
    token: string | undefined
  ) => {
    welcomed = true
    session.member = memberIdOf(member.id)
    const applies = context.liveness.watch(session, heartbeat)
    if (leased) promiseLease(session, applies)
    const leadIn = leased && rank === 0 ? context.leadIns.of(group) : undefined
    session.send({
      _tag: "Welcome",
      protocol: PROTOCOL_VERSION,
      server: context.serverName,
      member: session.member,
      group,
      rank,
      size: Roster.size(roster),
      epoch: roster.epoch,
      ...(token === undefined ? {} : { resume: token }),
      ...(leadIn === undefined ? {} : { leadIn }),
      maxLine: context.settings.maxLine,
      heartbeat: applies,
      commandTimeout: wholeMillis(context.settings.commandTimeout),
      maxCommandTimeout: wholeMillis(context.settings.maxCommandTimeout)
    })
  }
  const announce: Announcement = (group, resumed) => (member, rank, roster) => {
    welcome(group, member, rank, roster, resumed ? resume : minted?.token)
    if (isNewSeat(session, group, member)) tellRank(session, group, member, rank, roster)
  }
  return yield* applying(session, { epoch, group, name, resume }, announce, (verdict) => {
    if (verdict._tag !== "Seated") return
    // A resumed client keeps its token: it might never receive a new one, and then could not come back.
    if (!verdict.resumed && minted !== undefined) context.reservations.issue(session, verdict.bearer, minted)
    if (welcomed) return
    const { group, member } = verdict.seat
    const roster = group.ranks.snapshot()
    const rank = Roster.rankOf(roster, member.id) ?? NO_RANK
    welcome(group, member, rank, roster, verdict.resumed ? resume : minted?.token)
  })
})

const promiseLease = (session: ClientSession, heartbeat: number): void => {
  const now = session.context.now()
  if (session.lease === undefined) session.lease = new Lease(heartbeat, now)
  else session.lease.promise(heartbeat, now)
}

const isNewSeat = ({ state }: ClientSession, group: Group, { id }: Roster.Member<Peer>): boolean =>
  state._tag !== "Seated" || state.seat.group !== group || state.seat.member.id !== id

const tellRank = (
  session: ClientSession,
  { notifier }: Group,
  member: Roster.Member<Peer>,
  rank: number,
  roster: Roster.Roster<Peer>
) => {
  session.member = memberIdOf(member.id)
  session.lastRankSent = NO_RANK
  notifier.tell(member, rank, roster)
}

const takeSeat = (
  session: ClientSession,
  request: SeatRequest,
  announce: Announcement = (group) => (member, rank, roster) => tellRank(session, group, member, rank, roster)
): Effect.Effect<Step> => applying(session, request, announce, () => {})

/** Asks for a seat and applies the verdict. Uninterruptible, so that the session knows of every seat that it gets. */
const applying = (
  session: ClientSession,
  request: SeatRequest,
  announce: Announcement,
  onVerdict: (verdict: Verdict) => void
): Effect.Effect<Step> =>
  Effect.suspend(() => {
    const { state } = session
    if (state._tag !== "AwaitingSeat" && state._tag !== "Seated") return Effect.succeed(DONE)
    const applicant = { peer: session, bearer: state.bearer, seat: state._tag === "Seated" ? state.seat : undefined }
    const verdict = session.context.admission.seat(applicant, request, announce)
    return Effect.uninterruptible(
      Effect.map(verdict, (verdict) => {
        onVerdict(verdict)
        return apply(session, verdict)
      })
    )
  })

const apply = (session: ClientSession, verdict: Verdict): Step => {
  const { now, settings } = session.context
  const { state } = session
  switch (verdict._tag) {
    case "Seated": {
      const { bearer, seat } = verdict
      if (state._tag === "Seated" && state.seat === seat) return DONE
      session.enter(new Seated(seat, bearer))
      const { group, member } = seat
      const roster = group.ranks.snapshot()
      // While it left its old group, it may have received another rank there.
      group.notifier.tell(member, Roster.rankOf(roster, member.id) ?? NO_RANK, roster)
      return DONE
    }
    case "Rejected":
      return verdict.reason === "not authorized"
        ? reject(verdict.reason, "your token is for another name, or another group")
        : reject(verdict.reason)
    case "Waits": {
      if (state._tag === "AwaitingSeat") {
        // Another attempt does not extend the time.
        const limit = state.limit ?? { deadline: now() + Duration.toMillis(settings.authTimeout), cause: verdict.cause }
        session.enter({ ...state, limit })
      }
      return verdict.reason === undefined ? DONE : reject(verdict.reason)
    }
    case "Refused":
      return close(verdict.cause)
  }
}
