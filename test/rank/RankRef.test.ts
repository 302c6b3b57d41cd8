import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Scheduler, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Groups from "../../src/rank/Groups.ts"
import { RankRef } from "../../src/rank/RankRef.ts"
import * as Roster from "../../src/rank/Roster.ts"
import { onIdleScheduler, settled } from "../support/IdleScheduler.ts"

const make = (capacity = 1000) => {
  let lastId = 0
  return new RankRef<string, boolean>({ capacity, nextMemberId: () => ++lastId, epoch: 0, reasonOf: Exit.isSuccess })
}

const order = (ranks: RankRef<string, boolean>) => {
  const roster = ranks.snapshot()
  return Array.from({ length: Roster.size(roster) }, (_, rank) => Roster.at(roster, rank)!.data)
}

/** Joins in a scope of its own: closing the scope leaves. */
const joined = Effect.fnUntraced(function* (ranks: RankRef<string, boolean>, data: string) {
  const scope = yield* Scope.make()
  const member = yield* Scope.provide(ranks.join(data), scope)
  return { id: member.id, leave: Scope.close(scope, Exit.void) }
})

describe("RankRef", () => {
  it.effect("ranks in order of admission, and closes the gap when a member leaves", () =>
    Effect.gen(function* () {
      const ranks = make()
      const [, b] = yield* Effect.forEach(["a", "b", "c"], (data) => joined(ranks, data))
      yield* b!.leave
      assert.deepStrictEqual(order(ranks), ["a", "c"])
      yield* joined(ranks, "d")
      assert.deepStrictEqual(order(ranks), ["a", "c", "d"])
    })
  )

  it.effect("refuses members beyond the capacity without using an id, and admits the next when one has left", () =>
    Effect.gen(function* () {
      const ranks = make(2)
      const a = yield* joined(ranks, "a")
      yield* joined(ranks, "b")
      const refused = yield* Effect.flip(joined(ranks, "c"))
      assert.strictEqual(refused.message, "the group already has 2 members")
      yield* a.leave
      assert.strictEqual((yield* joined(ranks, "d")).id, 3)
      assert.deepStrictEqual(order(ranks), ["b", "d"])
    })
  )

  it.effect("stays dense and in order under concurrent joins, departures and interruptions", () =>
    Effect.gen(function* () {
      const ranks = make()
      const epochs: Array<number> = []
      yield* ranks.observe((_, roster) => epochs.push(roster.epoch))
      const fibers = yield* Effect.forEach(
        Array.from({ length: 300 }, (_, i) => i),
        (i) =>
          Effect.gen(function* () {
            for (let turn = 0; turn < i % 3; turn++) yield* Effect.yieldNow
            const member = yield* ranks.join(`${i}`)
            for (let turn = 0; turn < i % 5; turn++) yield* Effect.yieldNow
            if (i % 4 === 0) yield* ranks.stepDown(member.id)
            if (i % 3 === 0) return
            yield* Effect.never
          }).pipe(Effect.scoped, Effect.forkChild)
      )
      // Every seventh is interrupted at an arbitrary moment.
      yield* Effect.forEach(
        fibers.filter((_, i) => i % 7 === 0),
        (fiber) => Effect.andThen(Effect.yieldNow, Fiber.interrupt(fiber)),
        { concurrency: "unbounded" }
      )
      yield* settled

      const expected = Array.from({ length: 300 }, (_, i) => i).filter((i) => i % 3 !== 0 && i % 7 !== 0)
      assert.sameMembers(order(ranks), expected.map(String))
      const roster = ranks.snapshot()
      for (let rank = 0; rank < expected.length; rank++) {
        assert.strictEqual(Roster.rankOf(roster, Roster.at(roster, rank)!.id), rank)
      }
      assert.deepStrictEqual(
        epochs,
        epochs.toSorted((a, b) => a - b)
      )
      assert.strictEqual(new Set(epochs).size, epochs.length)
      yield* Fiber.interruptAll(fibers)
      assert.deepStrictEqual(order(ranks), [])
    }).pipe(onIdleScheduler)
  )

  it.effect.each([3, 4, 5, 6, 7])("leaves no seat behind, wherever a join is interrupted (%i)", (operations) =>
    Effect.gen(function* () {
      const seated: Array<boolean> = []
      // Until ten interruptions have hit it after its admission.
      for (let steps = 0; steps < 200 && !seated.at(-10); steps++) {
        const ranks = make()
        // The fiber yields after a few operations, so that it can be interrupted there.
        const fiber = yield* ranks
          .join("a")
          .pipe(
            Effect.andThen(Effect.never),
            Effect.scoped,
            Effect.provideService(Scheduler.MaxOpsBeforeYield, operations),
            Effect.forkChild
          )
        for (let step = 0; step < steps; step++) yield* Effect.yieldNow
        seated.push(order(ranks).length > 0)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(order(ranks), [], `interrupted after ${steps} steps`)
      }
      assert.isFalse(seated[0])
      assert.isTrue(seated.at(-1))
    })
  )

  it.effect("frees the seat when the fiber is interrupted, before the interrupt returns", () =>
    Effect.gen(function* () {
      const ranks = make()
      const seated = yield* Deferred.make<void>()
      const fiber = yield* ranks
        .join("a")
        .pipe(
          Effect.andThen(Deferred.succeed(seated, undefined)),
          Effect.andThen(Effect.never),
          Effect.scoped,
          Effect.forkChild
        )
      yield* Deferred.await(seated)
      assert.deepStrictEqual(order(ranks), ["a"])
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(order(ranks), [])
    })
  )

  it.effect("frees the seat when the fiber dies", () =>
    Effect.gen(function* () {
      const ranks = make()
      yield* ranks.join("a").pipe(Effect.andThen(Effect.die("boom")), Effect.scoped, Effect.exit)
      assert.deepStrictEqual(order(ranks), [])
    })
  )

  it.effect("steps down, keeps names unique, and frees them", () =>
    Effect.gen(function* () {
      const ranks = make()
      const a = yield* joined(ranks, "a")
      const b = yield* joined(ranks, "b")
      yield* ranks.rename(a.id, "boss")
      assert.strictEqual((yield* Effect.flip(ranks.rename(b.id, "boss"))).message, "another member has the name boss")
      yield* ranks.rename(a.id, "boss")
      yield* ranks.stepDown(a.id)
      assert.deepStrictEqual(order(ranks), ["b", "a"])
      assert.strictEqual(Roster.byName(ranks.snapshot(), "boss")?.id, a.id)
      yield* a.leave
      yield* ranks.rename(b.id, "boss")
    })
  )

  it.effect("shows observers every change once, with the order right after it", () =>
    Effect.gen(function* () {
      const ranks = make()
      const seen: Array<unknown> = []
      const watching = yield* Scope.make()
      yield* Scope.provide(
        ranks.observe(({ member, ...change }, roster) =>
          seen.push({ ...change, who: member.data, size: Roster.size(roster), epoch: roster.epoch })
        ),
        watching
      )
      const a = yield* joined(ranks, "a")
      yield* joined(ranks, "b")
      yield* ranks.stepDown(a.id)
      yield* ranks.rename(a.id, "x")
      yield* TestClock.adjust("1 second")
      yield* a.leave
      yield* Scope.close(watching, Exit.void)
      yield* joined(ranks, "c")
      assert.deepStrictEqual(seen, [
        { _tag: "Joined", rank: 0, who: "a", size: 1, epoch: 1 },
        { _tag: "Joined", rank: 1, who: "b", size: 2, epoch: 2 },
        { _tag: "Moved", from: 0, to: 1, who: "a", size: 2, epoch: 3 },
        { _tag: "Named", rank: 1, who: "a", size: 2, epoch: 3 },
        { _tag: "Left", rank: 1, reason: true, who: "a", size: 1, epoch: 1_000_000 }
      ])
    })
  )

  it.effect("admits a member of another group with its id and name, or not at all", () =>
    Effect.gen(function* () {
      const ranks = make(3)
      const a = yield* ranks.join("a", { id: 77, name: "boss" })
      assert.deepStrictEqual({ id: a.id, name: a.name }, { id: 77, name: "boss" })
      assert.strictEqual(Roster.byName(ranks.snapshot(), "boss")?.id, 77)
      const taken = yield* Effect.flip(ranks.join("b", { id: 78, name: "boss" }))
      assert.strictEqual(taken._tag, "NameTaken")
      assert.deepStrictEqual(order(ranks), ["a"])
    }).pipe(Effect.scoped)
  )
})

describe("Groups", () => {
  const makeGroups = Groups.make({
    capacity: 2,
    reasonOf: Exit.isSuccess,
    open: (_, ranks: RankRef<string, boolean>) => Effect.succeed(ranks)
  })

  it.effect("keeps one order per group, and never uses an id twice", () =>
    Effect.gen(function* () {
      const groups = yield* makeGroups
      const ids = yield* Effect.forEach(["x", "y", "x", "y"], (name) =>
        Effect.flatMap(groups.enter(name), (ranks) => Effect.map(ranks.join(name), ({ id }) => id))
      )
      assert.deepStrictEqual(ids, [1, 2, 3, 4])
      assert.deepStrictEqual(order(yield* groups.enter("x")), ["x", "x"])
      const full = yield* Effect.flip(Effect.flatMap(groups.enter("x"), (ranks) => ranks.join("x")))
      assert.strictEqual(full._tag, "GroupFull")
    }).pipe(Effect.scoped)
  )

  it.effect("forgets an empty group, but continues its epochs", () =>
    Effect.gen(function* () {
      const groups = yield* makeGroups
      const visit = Effect.scoped(
        Effect.flatMap(groups.enter("x"), (ranks) =>
          Effect.map(ranks.join("a"), () => ({ ranks, epoch: ranks.snapshot().epoch }))
        )
      )
      const first = yield* visit
      const second = yield* visit
      assert.notStrictEqual(first.ranks, second.ranks)
      // The clock stands still: a group without memory would begin with the same epochs.
      assert.isAbove(second.epoch, first.epoch + 1)
    }).pipe(Effect.scoped)
  )
})
