/**
 * Leader election: the client at rank 0 of a group leads, the others wait in line.
 *
 * Promised, on a server that knows leases and with clocks that differ by less than 10 percent: what `whileLeader` runs
 * has ended before the next leader's begins, if its interruption takes `stopWithin` at most. The lead is a lease
 * (`lease/Lease.ts`) of two heartbeats. The loss of a connection does not interrupt the work: the client reconnects
 * and renews the lease. If it cannot, the interruption begins `stopWithin` before the end of the lease. It begins at
 * once when the client hears of another rank, and when the client leaves.
 *
 * Not promised: that two clients never act as the leader at once. A paused or very busy process does not look
 * at its lease and may do one thing more when it continues. Work that does not end when it is interrupted continues.
 * Outside Linux a suspended machine does not count the time of the suspend. An older server knows no leases: then the
 * work is interrupted when the connection is lost, but the next leader may be sooner. So pass the epoch to whatever
 * the leader changes (a database, a store), and have that reject an epoch smaller than the largest it has seen: the
 * epoch is a fencing token.
 */
import { Clock, Deferred, Duration, Effect, Exit, Fiber, Option, Stream, SubscriptionRef } from "effect"
import { GOOD_FOR, PING_AFTER } from "./lease/Lease.ts"
import { type Term, type Terms, TICK } from "./lease/Terms.ts"
import { RankClient } from "./RankClient.ts"
import { Rejected } from "./Rejected.ts"

export interface LeadOptions {
  /**
   * How long the interruption of the effect may take, at most; a heartbeat by default, which is half a lease. Less than
   * one and a half heartbeats.
   */
  readonly stopWithin?: Duration.Input
  /** By default the client steps down when the effect has ended. `keep`: it keeps rank 0. */
  readonly afterwards?: "keep"
  /** By default an error is logged when the effect has not ended in time. `exit`: the process ends, too, with status 1. */
  readonly onLate?: "exit"
}

/** The member at rank 0. */
export interface Current {
  readonly member: string
  readonly name: string | undefined
  /** When this client learned that it is at rank 0, in milliseconds of Unix time. */
  readonly since: number
  /** The epoch of the group then. The leader's own token is at most this, unless the leader is this client: then it is this. */
  readonly epoch: number
}

/** The first term for which `accepts` holds. */
const termSuch = ({ current }: Terms, accepts: (term: Term) => boolean): Effect.Effect<Term> =>
  SubscriptionRef.changes(current).pipe(
    Stream.filter((term) => term !== undefined && accepts(term)),
    Stream.runHead,
    Effect.flatMap((term) =>
      term._tag === "Some" && term.value !== undefined ? Effect.succeed(term.value) : Effect.never
    )
  )

/** Waits until this client leads; succeeds with the epoch. */
export const awaitLeader: Effect.Effect<number, never, RankClient> = Effect.gen(function* () {
  const { requestLease, terms } = (yield* RankClient).lead
  yield* requestLease
  return (yield* termSuch(terms, () => true)).epoch
})

/**
 * How long this client may still act as the leader: until then its work must have ended. None if it does not lead. Check it
 * before a write that must not be late.
 */
export const leaseLeft: Effect.Effect<Option.Option<Duration.Duration>, never, RankClient> = Effect.map(
  RankClient,
  ({ lead }) => {
    const left = lead.terms.present?.left ?? 0
    return left > 0 ? Option.some(Duration.millis(left)) : Option.none()
  }
)

/**
 * The member at rank 0 of the group, now and after each change; undefined while this client is not connected. It may not act
 * yet, or no longer: it may be waiting for the end of another lease, or be absent. A member without a lease never acts.
 */
export const current: Stream.Stream<Current | undefined, never, RankClient> = Stream.unwrap(
  Effect.map(RankClient, ({ roster, standing }) =>
    Stream.zipLatest(roster, SubscriptionRef.changes(standing)).pipe(
      // A change of the list comes before the client's own rank after it.
      Stream.filter(([members, now]) => now === undefined || members[now.rank]?.member === now.member),
      Stream.map(([members, now]) => {
        const [first] = members
        if (now === undefined || first === undefined) return undefined
        return { member: first.member, name: first.name, epoch: now.epoch, isOwn: now.rank === 0 }
      }),
      Stream.changesWith(
        (before, after) =>
          before?.member === after?.member &&
          before?.name === after?.name &&
          (after?.isOwn !== true || before?.epoch === after.epoch)
      ),
      Stream.mapEffect((found) =>
        found === undefined
          ? Effect.undefined
          : Effect.map(Clock.currentTimeMillis, (since): Current => {
              const { epoch, member, name } = found
              return { epoch, member, name, since }
            })
      )
    )
  )
)

/** Checks that the interruption fits between two pings and the end of the lease; in milliseconds. */
const fitting = (stopWithin: Duration.Input | undefined, heartbeat: number): Effect.Effect<number, Rejected> => {
  const millis = stopWithin === undefined ? heartbeat : Duration.toMillis(stopWithin)
  const limit = (GOOD_FOR - PING_AFTER) * heartbeat
  if (millis >= 0 && millis < limit) return Effect.succeed(millis)
  const detail = `stopWithin: expected less than ${limit} milliseconds, one and a half heartbeats`
  return Effect.fail(new Rejected({ reason: "malformed", detail }))
}

/** Succeeds when the work of this term must begin to stop. */
const over = (terms: Terms, term: Term, stopWithin: number): Effect.Effect<void> => {
  const late = Effect.suspend((): Effect.Effect<void> => {
    const left = term.left - stopWithin
    return left <= 0 ? Effect.void : Effect.andThen(Effect.sleep(Math.min(TICK, Math.ceil(left))), late)
  })
  const ended = Stream.runHead(Stream.filter(SubscriptionRef.changes(terms.current), (now) => now !== term))
  return Effect.raceFirst(Effect.asVoid(ended), late)
}

/** How often work that has not ended lets the client give up rank 0. */
const STANDS_ASIDE = Duration.seconds(1)

/** The next term that leaves more time than an interruption may take. */
const nextTerm = (terms: Terms, stopWithin: number): Effect.Effect<Term> =>
  Effect.flatMap(
    termSuch(terms, () => true),
    (term) =>
      term.left > stopWithin
        ? Effect.succeed(term)
        : Effect.andThen(
            Effect.sleep(TICK),
            Effect.suspend(() => nextTerm(terms, stopWithin))
          )
  )

/** While work hangs that keeps this client from leading: gives up rank 0 whenever it has it, unless other work runs on it. */
const standAside = (terms: Terms): Effect.Effect<never> =>
  Effect.suspend(() => (terms.works === 0 ? terms.stepDown : Effect.void)).pipe(
    // Without another member it has rank 0 again at once.
    Effect.andThen(Effect.sleep(STANDS_ASIDE)),
    Effect.forever
  )

/** Interrupts the work; succeeds with how it has ended, if it has within these milliseconds. If not, reports it. */
const stop = Effect.fnUntraced(function* <A, E>(work: Fiber.Fiber<A, E>, millis: number, { onLate }: LeadOptions) {
  work.interruptUnsafe()
  const ended = yield* Effect.raceFirst(
    Effect.interruptible(Effect.asSome(Fiber.await(work))),
    Effect.interruptible(Effect.as(Effect.sleep(millis), Option.none<Exit.Exit<A, E>>()))
  )
  if (Option.isSome(ended)) return ended
  yield* Effect.logError("the work of the leader has not ended in time: others may lead now")
  if (onLate === "exit") process.exit(1)
  return ended
})

/**
 * Runs an effect while this client leads. The effect gets the epoch, its fencing token. When the lead is lost
 * the effect is interrupted; when this client leads again, it runs again. Succeeds or fails as the effect does when the
 * effect ends by itself; then the client steps down, unless other work of a leader runs on it.
 *
 * An effect that is interrupted has `stopWithin` to end. One that takes longer does not run again before it has ended, and
 * does not keep others from leading: the client gives up rank 0 meanwhile. When `whileLeader` itself is interrupted, or the
 * client's layer ends, it leaves behind what has not ended in time.
 *
 * Fails with `malformed` if `stopWithin` does not fit in the lease.
 */
export const whileLeader = Effect.fnUntraced(function* <A, E, R>(
  lead: (epoch: number) => Effect.Effect<A, E, R>,
  options: LeadOptions = {}
): Effect.fn.Return<A, E | Rejected, R | RankClient> {
  const { beforeLeaving, lead: client } = yield* RankClient
  const { leaseHeartbeat, requestLease, terms } = client
  const stopWithin = yield* fitting(options.stopWithin, leaseHeartbeat)
  const leaving = yield* Deferred.make<void>()
  const left = yield* Deferred.make<void>()

  /** One piece of work, from its beginning to its end; none if it was interrupted because the lead was lost, or for ever. */
  const under = (term: Term) => {
    let hangs = false
    return Effect.acquireUseRelease(
      Effect.suspend(() => {
        // The subscription may deliver a term that has ended meanwhile.
        if (terms.present !== term || term.left <= stopWithin) return Effect.undefined
        terms.works++
        return Effect.forkDetach(Effect.suspend(() => lead(term.epoch)))
      }),
      Effect.fnUntraced(function* (work) {
        if (work === undefined) return Option.none()
        const lost = Effect.raceFirst(over(terms, term, stopWithin), Deferred.await(leaving))
        const ended = yield* Effect.raceFirst(Effect.asSome(Fiber.await(work)), Effect.as(lost, Option.none()))
        if (Option.isSome(ended)) return ended
        const stopped = yield* stop(work, Math.min(stopWithin, Math.max(0, term.left)), options)
        if (Option.isNone(stopped)) {
          terms.works--
          hangs = true
          // Nothing else may begin before it has ended.
          const ended = Effect.raceFirst(Fiber.await(work), Deferred.await(leaving))
          yield* Effect.raceFirst(ended, standAside(terms))
        }
        // It may have ended by itself before the interruption.
        return Option.filter(stopped, Exit.isSuccess)
      }),
      Effect.fnUntraced(function* (work, exit) {
        if (work === undefined) return
        if (Exit.isFailure(exit)) yield* stop(work, Math.min(stopWithin, Math.max(0, term.left)), options)
        if (!hangs) terms.works--
        const isOver = Exit.isFailure(exit) || Option.isSome(exit.value)
        if (isOver && options.afterwards !== "keep" && terms.works === 0) yield* terms.stepDown
      })
    )
  }

  const leading = Effect.gen(function* () {
    yield* beforeLeaving(Effect.andThen(Deferred.succeed(leaving, undefined), Deferred.await(left)), stopWithin + TICK)
    yield* requestLease
    while (!Deferred.isDoneUnsafe(leaving)) {
      const next = Effect.map(nextTerm(terms, stopWithin), Option.some)
      const term = yield* Effect.raceFirst(next, Effect.as(Deferred.await(leaving), Option.none<Term>()))
      if (Option.isNone(term)) break
      const ended = yield* under(term.value)
      if (Option.isSome(ended)) return yield* ended.value
    }
    yield* Deferred.succeed(left, undefined)
    return yield* Effect.never
  })
  return yield* Effect.scoped(Effect.ensuring(leading, Deferred.succeed(left, undefined)))
})
