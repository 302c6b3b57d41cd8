/**
 * Leader election: the client at rank 0 leads, and the others stand in line.
 *
 * What it promises: the server gives rank 0 of a group to one member at a time,
 * under an epoch that no other leader ever had; the moment this client hears that
 * it does not lead, or its connection breaks, what it does as the leader is
 * interrupted. When this client leaves by itself, the next one leads only after
 * that has ended, or after 10 seconds. And where the network is cut off without a
 * word, or the server is frozen, this client gives up first: the lead is a lease
 * (`Lease`), of two heartbeats; what it does as the leader has half a heartbeat more
 * to end before the server makes the next one lead, which it does within 15 seconds.
 *
 * What it does not promise: that two never lead. A process that is paused, or that is
 * busy for so long, does not look at its lease, and may do one thing more when it goes
 * on; and a server that finds the connection reset, by something between the two, does
 * not wait for a lease to end, unless it holds places for as long (`--grace`). So hand
 * the epoch to whatever the leader changes (a database, a store), and have that turn
 * away an epoch smaller than the largest it has seen: it is a fencing token.
 */
import { Deferred, Effect, FiberHandle, Stream, SubscriptionRef } from "effect"
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

/**
 * Runs the effect while this client leads, and interrupts it when it does not any
 * more; then waits to lead again. It ends as the effect does, when that ends by
 * itself. The effect is handed the epoch, its fencing token.
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
      let leaving = false
      /** Succeeds when nothing is done as the leader any more. */
      const stop = FiberHandle.clear(leading)
      yield* beforeLeaving(
        Effect.suspend(() => {
          leaving = true
          return stop
        })
      )
      const following = Stream.runForEach(
        SubscriptionRef.changes(standing),
        Effect.fnUntraced(function* (now) {
          if (epochOf(now) === leads || leaving) return
          leads = epochOf(now)
          yield* stop
          const epoch = leads
          // What was led took its time to end: it may be somebody else's turn.
          if (epoch === undefined || leaving || epochOf(SubscriptionRef.getUnsafe(standing)) !== epoch) return
          const led = Effect.onExit(
            Effect.suspend(() => lead(epoch)),
            (exit) =>
              exit._tag === "Failure" && (leaving || leads !== epoch) ? Effect.void : Deferred.done(ended, exit)
          )
          yield* FiberHandle.run(leading, Effect.asVoid(Effect.exit(led)))
        })
      )
      return yield* Effect.raceFirst(Deferred.await(ended), Effect.andThen(following, Effect.never))
    })
  )
})
