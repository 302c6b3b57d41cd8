/** A client whose connection breaks, where the server holds places. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Layer, Logger, Scope, SubscriptionRef } from "effect"
import { Leader, NodeClient, RankClient, type Standing } from "../../src/index.ts"
import { proxy } from "../support/proxy.ts"
import { Port, serverLayer } from "../support/wire.ts"

const connect = Effect.fnUntraced(function* (port: number) {
  const layer = NodeClient.layer({ host: "127.0.0.1", port })
  return Context.get(yield* Layer.build(layer), RankClient)
})

const until = (condition: () => boolean) =>
  Effect.gen(function* () {
    while (!condition()) yield* Effect.sleep("5 millis")
  }).pipe(Effect.timeoutOrElse({ duration: "10 seconds", orElse: () => Effect.die(new Error(`not so: ${condition}`)) }))

const standing = (client: RankClient["Service"]): Standing | undefined => SubscriptionRef.getUnsafe(client.standing)

const held = serverLayer({ grace: Duration.minutes(1) })

describe("a client of a server that holds places", { concurrent: true, timeout: 30_000 }, () => {
  it.live("has its rank again after a short loss, as often as that happens, and leads under a new epoch", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const between = yield* proxy(port)
      const a = yield* connect(between.port)
      yield* until(() => standing(a) !== undefined)
      const b = yield* connect(port)
      yield* until(() => standing(b) !== undefined)
      const epochs: Array<number> = []
      let ended = 0
      yield* Leader.whileLeader((epoch) => {
        epochs.push(epoch)
        return Effect.onInterrupt(Effect.never, () => Effect.sync(() => ended++))
      }).pipe(Effect.provideService(RankClient, a), Effect.forkScoped)
      yield* until(() => epochs.length === 1)
      const before = standing(b)
      for (let loss = 1; loss <= 3; loss++) {
        between.cut()
        yield* until(() => epochs.length === loss + 1)
        assert.strictEqual(ended, loss)
        assert.deepInclude(standing(a)!, { member: "m1", rank: 0, epoch: epochs[loss]! })
        assert.isAbove(epochs[loss]!, epochs[loss - 1]!)
      }
      assert.deepStrictEqual(standing(b), before)
    }).pipe(Effect.scoped, Effect.provide(held), Effect.provide(Logger.layer([])))
  )

  it.live("leaves for good when it ends by itself: the next is promoted at once", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const scope = yield* Scope.make()
      const a = yield* Scope.provide(connect(port), scope)
      yield* until(() => standing(a) !== undefined)
      const b = yield* connect(port)
      yield* until(() => standing(b)?.rank === 1)
      yield* Scope.close(scope, Exit.void)
      yield* until(() => standing(b)?.rank === 0)
    }).pipe(Effect.scoped, Effect.provide(held), Effect.provide(Logger.layer([])))
  )
})
