/** A client whose connection breaks, with a server that keeps its rank for a while (`--grace`). */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Scope } from "effect"
import { Leader, RankClient } from "../../src/index.ts"
import { join, rankOf, standingOf } from "../support/client.ts"
import { proxy } from "../support/proxy.ts"
import { until } from "../support/until.ts"
import { Port, serverLayer } from "../support/wire.ts"

const keepingRanks = serverLayer({ grace: Duration.minutes(1) })

describe("resuming", { concurrent: true, timeout: 30_000 }, () => {
  it.live("returns to its rank after each short loss, and its work as the leader goes on", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const between = yield* proxy(port)
      const a = yield* join(between.port)
      const b = yield* join(port)
      const epochs: Array<number> = []
      let ended = 0
      yield* Leader.whileLeader((epoch) => {
        epochs.push(epoch)
        return Effect.onInterrupt(Effect.never, () => Effect.sync(() => ended++))
      }).pipe(Effect.provideService(RankClient, a), Effect.forkScoped)
      yield* until(() => epochs.length === 1)
      const before = standingOf(b)
      for (let loss = 1; loss <= 3; loss++) {
        const epoch = standingOf(a)?.epoch ?? Number.POSITIVE_INFINITY
        between.cut()
        yield* until(() => (standingOf(a)?.epoch ?? 0) > epoch)
        assert.deepInclude(standingOf(a)!, { member: "m1", rank: 0 })
        assert.lengthOf(epochs, 1, `after loss ${loss}`)
        assert.strictEqual(ended, 0)
      }
      assert.deepStrictEqual(standingOf(b), before)
    }).pipe(Effect.scoped, Effect.provide(keepingRanks))
  )

  it.live("leaves for good when it ends by itself: the server promotes the next member at once", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const scope = yield* Scope.make()
      yield* Scope.provide(join(port), scope)
      const b = yield* join(port)
      assert.strictEqual(rankOf(b), 1)
      yield* Scope.close(scope, Exit.void)
      yield* until(() => rankOf(b) === 0)
    }).pipe(Effect.scoped, Effect.provide(keepingRanks))
  )
})
