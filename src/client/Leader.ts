/**
 * Leader election: the client at rank 0 of a group leads, the others wait in line.
 *
 * Promised: the server gives rank 0 of a group to one member at a time, under an epoch that no other leader
 * ever has. As soon as this client learns that it no longer leads, or its connection breaks, its work as the
 * leader is interrupted. If this client leaves by itself, the next member leads only after that work has
 * ended, or after 10 seconds. If the network drops everything silently or the server freezes, this client
 * gives up first: the lead is a lease (`Lease`) of two heartbeats. The work then has half a heartbeat more
 * to end before the server promotes the next member, within 15 seconds.
 *
 * Not promised: that two clients never act as the leader at once. A paused or very busy process does not look
 * at its lease and may do one thing more when it continues. A server whose connection to the leader is
 * reset by something in between does not wait for the lease, unless its `--grace` is as long. So pass
 * the epoch to whatever the leader changes (a database, a store), and have that reject an epoch smaller
 * than the largest it has seen: the epoch is a fencing token.
 */
import { Deferred, Duration, Effect, FiberHandle, Option, Stream, SubscriptionRef } from "effect"
import type { Standing } from "./Connection.ts"
import { RankClient } from "./RankClient.ts"

const epochOf = (standing: Standing | undefined): number | undefined =>
  standing?.rank === 0 ? standing.epoch : undefined

/** Waits until this client leads; succeeds with the epoch. */
export const awaitLeader: Effect.Effect<number, never, RankClient> = Effect.gen(function* () {
  const { standing } = yield* RankClient
  const led = yield* SubscriptionRef.changes(standing).pipe(
    Stream.map(epochOf),
    Stream.filter((epoch) => epoch !== undefined),
    Stream.runHead
  )
  return led._tag === "Some" ? led.value : yield* Effect.never
})

/** How long this client may still act as the leader; none if it does not lead. */
export const leaseLeft: Effect.Effect<Option.Option<Duration.Duration>, never, RankClient> = Effect.map(
  RankClient,
  ({ leaseLeft, standing }) => {
    const left = leaseLeft()
    const leads = epochOf(SubscriptionRef.getUnsafe(standing)) !== undefined
    return leads && left > 0 ? Option.some(Duration.millis(left)) : Option.none()
  }
)

/**
 * Runs an effect while this client leads. The effect gets the epoch, its fencing token. When the lead is lost
 * the effect is interrupted; when this client leads again, it runs again, under the new epoch. Succeeds or
 * fails as the effect does when the effect ends by itself.
 */
export const whileLeader = Effect.fnUntraced(function* <A, E, R>(
  lead: (epoch: number) => Effect.Effect<A, E, R>
): Effect.fn.Return<A, E, R | RankClient> {
  const { beforeLeaving, standing } = yield* RankClient
  return yield* Effect.scoped(
    Effect.gen(function* () {
      const ended = yield* Deferred.make<A, E>()
      const leading = yield* FiberHandle.make<void>()
      let leads: number | undefined
      let isLeaving = false
      /** Succeeds when no work as the leader is left. */
      const stop = FiberHandle.clear(leading)
      yield* beforeLeaving(
        Effect.suspend(() => {
          isLeaving = true
          return stop
        })
      )
      const following = Stream.runForEach(
        SubscriptionRef.changes(standing),
        Effect.fnUntraced(function* (now) {
          if (epochOf(now) === leads || isLeaving) return
          leads = epochOf(now)
          yield* stop
          const epoch = leads
          // The work took time to end: the lead may be another's by now.
          if (epoch === undefined || isLeaving || epochOf(SubscriptionRef.getUnsafe(standing)) !== epoch) return
          const led = Effect.onExit(
            Effect.suspend(() => lead(epoch)),
            (exit) =>
              exit._tag === "Failure" && (isLeaving || leads !== epoch) ? Effect.void : Deferred.done(ended, exit)
          )
          yield* FiberHandle.run(leading, Effect.asVoid(Effect.exit(led)))
        })
      )
      return yield* Effect.raceFirst(Deferred.await(ended), Effect.andThen(following, Effect.never))
    })
  )
})
