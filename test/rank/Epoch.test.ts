/** The epochs of a group, whatever the wall clock does and whatever clients know. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Latch, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Epoch from "../../src/rank/Epoch.ts"
import * as Groups from "../../src/rank/Groups.ts"
import { RankRef } from "../../src/rank/RankRef.ts"
import * as Roster from "../../src/rank/Roster.ts"

const DAY = 86_400_000
const YEAR = 365 * DAY

const Step = Schema.Struct({
  kind: Schema.Literals(["join", "leave", "stepDown", "rename", "replace", "learn"]),
  /** Where the wall clock is set, in milliseconds: to either side of the last time, by up to two days. */
  clock: Schema.Int.check(Schema.isBetween({ minimum: -2 * DAY, maximum: 2 * DAY })),
  /** Microseconds from the wall clock to the epoch that the client knows. */
  ahead: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: -2000 * DAY, maximum: 2000 * DAY })))
})

describe("the epochs of a group", () => {
  it.effect.prop(
    "only grow, and are above what the client of a change knows if that is at most a day ahead",
    [Schema.Array(Step).check(Schema.isMaxLength(30))],
    ([steps]) =>
      Effect.gen(function* () {
        let lastId = 0
        const options = { capacity: 100, reasonOf: Exit.isSuccess, nextMemberId: () => ++lastId, epoch: 0 }
        const ranks = new RankRef<string, boolean>(options)
        const seated = yield* ranks.join("first")
        let time = YEAR
        for (const { ahead, clock, kind } of steps) {
          time = Math.max(0, time + clock)
          yield* TestClock.setTime(time)
          const before = ranks.snapshot().epoch
          const known = ahead === undefined ? undefined : Math.max(0, time * 1000 + ahead)
          yield* change(ranks, kind, seated.id, known)
          const { epoch } = ranks.snapshot()
          const isAccepted = known !== undefined && known <= (time + DAY) * 1000
          if (kind !== "leave" && kind !== "stepDown" && isAccepted) assert.isAbove(epoch, known)
          if (kind === "rename" || kind === "learn")
            assert.strictEqual(epoch, isAccepted ? Math.max(before, known + 1) : before)
          else assert.isAbove(epoch, before)
          // A leave is a join before it, too.
          assert.isAtMost(epoch, Math.max(before + 2, time * 1000 + 1, isAccepted ? known + 1 : 0))
        }
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 300 } }
  )

  it("are never unsafe numbers, whatever a client says", () => {
    const now = Date.now() * 1000
    for (const known of [0, now - 1, now, now + DAY * 1000]) assert.strictEqual(Epoch.above(known, now), known + 1)
    for (const known of [now + DAY * 1000 + 1, Number.MAX_SAFE_INTEGER]) assert.strictEqual(Epoch.above(known, now), 0)
  })

  it.effect("grow over an empty group that opens again before it has closed, with the clock set back", () =>
    Effect.gen(function* () {
      const closing = yield* Latch.make(false)
      const groups = yield* Groups.make({
        capacity: 2,
        reasonOf: Exit.isSuccess,
        open: (_, ranks: RankRef<string, boolean>) =>
          Effect.as(
            Effect.addFinalizer(() => closing.await),
            ranks
          )
      })
      const enter = Effect.tap(groups.enter("x"), (ranks) => ranks.join("a"))
      yield* TestClock.setTime(YEAR)
      const scope = yield* Scope.make()
      const first = yield* Scope.provide(enter, scope)
      yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      assert.strictEqual(Roster.size(first.snapshot()), 0)
      yield* TestClock.setTime(0)
      const second = yield* enter
      yield* Effect.addFinalizer(() => closing.open)
      assert.notStrictEqual(second, first)
      assert.isAbove(second.snapshot().epoch, first.snapshot().epoch)
    }).pipe(Effect.scoped)
  )
})

const change = (
  ranks: RankRef<string, boolean>,
  kind: (typeof Step.Type)["kind"],
  id: number,
  epoch: number | undefined
): Effect.Effect<unknown, unknown, Scope.Scope> => {
  switch (kind) {
    case "join":
      return ranks.join("a", { epoch })
    case "leave":
      return Effect.scoped(ranks.join("a"))
    case "stepDown":
      return ranks.stepDown(id)
    case "rename":
      return ranks.rename(id, "name", undefined, epoch)
    case "replace":
      return ranks.replace(id, "b", undefined, epoch)
    case "learn":
      return ranks.learn(epoch ?? 0)
  }
}
