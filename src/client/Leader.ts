/**
 * Leader election: the client at rank 0 leads, and the others stand in line.
 *
 * What it promises: the server gives rank 0 of a group to one member at a time,
 * under an epoch that no other leader ever had; the moment this client hears that
 * it does not lead, or its connection breaks, what it does as the leader is
 * interrupted.
 *
 * What it does not promise: that this client hears in time. A process that is
 * paused, or cut off without a word, still believes that it leads while the next
 * one does. So hand the epoch to whatever the leader changes (a database, a
 * store), and have that turn away an epoch smaller than the largest it has seen:
 * it is a fencing token.
 */
import { Deferred, Effect, FiberHandle, Stream, SubscriptionRef } from "effect"
import type { Standing } from "./Link.ts"
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
  const { standing } = yield* RankClient
  return yield* Effect.scoped(
    Effect.gen(function* () {
      const ended = yield* Deferred.make<A, E>()
      const leading = yield* FiberHandle.make<void>()
      let leads: number | undefined
      yield* Effect.forkScoped(
        Stream.runForEach(SubscriptionRef.changes(standing), (now) => {
          const epoch = epochOf(now)
          if (epoch === leads) return Effect.void
          leads = epoch
          if (epoch === undefined) return FiberHandle.clear(leading)
          const led = Effect.onExit(lead(epoch), (exit) =>
            exit._tag === "Failure" && leads !== epoch ? Effect.void : Deferred.done(ended, exit)
          )
          return Effect.asVoid(FiberHandle.run(leading, Effect.asVoid(Effect.exit(led))))
        })
      )
      return yield* Deferred.await(ended)
    })
  )
})
