/** Which member gets which line, and when, through any history of a group. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Schema } from "effect"
import { jsonCodec } from "../../../src/protocol/json/JsonCodec.ts"
import { fakeGroup, members } from "../../support/fakeGroup.ts"
import type { FakePeer } from "../../support/fakePeer.ts"
import { onIdleScheduler } from "../../support/IdleScheduler.ts"
import { passes, settled } from "../../support/memoryServer.ts"

const linesOf = (peers: ReadonlyArray<FakePeer>) => peers.map((peer) => peer.lines())

const At = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 }))

const Step = Schema.Union([
  Schema.TaggedStruct("Joins", {}),
  Schema.TaggedStruct("Leaves", { at: At }),
  Schema.TaggedStruct("Leaves", { at: At }),
  Schema.TaggedStruct("StepsDown", { at: At }),
  Schema.TaggedStruct("TimePasses", { millis: Schema.Literals([0, 5, 20, 50]) })
])

describe("a member", () => {
  it.effect.prop(
    "gets no rank but its own at that moment, never the same twice, at rank 0 at once, and in the end the right one",
    [Schema.Array(Step).check(Schema.isMaxLength(30))],
    ([steps]) =>
      Effect.gen(function* () {
        const group = yield* fakeGroup()
        const order: Array<FakePeer> = yield* members(group, 5)
        /** The rank that each member knows; none right after it has stepped down. */
        const known = new Map(order.map((peer, rank): [FakePeer, number | undefined] => [peer, rank]))
        const hear = () => {
          const { epoch } = group.roster()
          for (const [rank, peer] of order.entries()) {
            for (const line of peer.lines()) {
              assert.strictEqual(line, `RANK ${rank} ${order.length} ${epoch} ${peer.member}`)
              assert.notStrictEqual(known.get(peer), rank)
              known.set(peer, rank)
            }
          }
        }
        for (const step of steps) {
          const peer = "at" in step ? order[step.at % Math.max(1, order.length)] : undefined
          if (step._tag === "Joins") {
            const newcomer = yield* group.join()
            known.set(newcomer, order.push(newcomer) - 1)
          } else if (step._tag === "TimePasses") {
            yield* passes(step.millis)
          } else if (peer !== undefined) {
            order.splice(order.indexOf(peer), 1)
            if (step._tag === "StepsDown") {
              order.push(peer)
              known.set(peer, undefined)
              yield* group.stepDown(peer)
            } else {
              yield* group.leave(peer)
            }
          }
          hear()
          const [first] = order
          if (first !== undefined) assert.strictEqual(known.get(first), 0)
        }
        // A sweep, the rest after it, and the sweep of what came meanwhile.
        yield* passes("1 second")
        hear()
        for (const [rank, peer] of order.entries()) assert.strictEqual(known.get(peer), rank)
      }).pipe(Effect.scoped, onIdleScheduler),
    { arbitrary: { runs: 100 } }
  )

  it.effect("that is leaving gets nothing more, neither at rank 0 nor by a sweep", () =>
    Effect.gen(function* () {
      const group = yield* fakeGroup()
      const [a, b, c, d] = yield* members(group, 4)
      b.leaving = true
      c.leaving = true
      yield* group.leave(a)
      yield* passes("1 second")
      assert.deepStrictEqual(linesOf([b, c, d]), [[], [], ["RANK 2 3 5 m4"]])
      yield* group.leave(b)
      yield* group.leave(c)
      assert.deepStrictEqual(linesOf([b, c]), [[], []])
      assert.match(d.lines().at(-1) ?? "", /^RANK 0 1 \d+ m4$/)
    }).pipe(Effect.scoped, onIdleScheduler)
  )

  it.effect("gets its rank by tell only where it does not know it", () =>
    Effect.gen(function* () {
      const group = yield* fakeGroup()
      const [a, b] = yield* members(group, 2)
      const tell = () => {
        for (const [rank, id] of [1, 2].entries()) {
          const data = [a, b][rank]
          if (data !== undefined) group.group.notifier.tell({ id, name: undefined, data }, rank, group.roster())
        }
      }
      tell()
      b.lastRankSent = 7
      tell()
      tell()
      assert.deepStrictEqual(linesOf([a, b]), [[], ["RANK 1 2 2 m2"]])
      group.server.stopping = true
      b.lastRankSent = 7
      tell()
      assert.deepStrictEqual(linesOf([a, b]), [[], []])
    }).pipe(Effect.scoped, onIdleScheduler)
  )
})

describe("a sweep", () => {
  it.effect("visits nobody above the first change", () =>
    Effect.gen(function* () {
      const group = yield* fakeGroup()
      const peers = yield* members(group, 5)
      // A member that the sweep visits gets a line.
      for (const peer of peers) peer.lastRankSent = 99
      yield* group.leave(peers[3])
      yield* passes("1 second")
      assert.deepStrictEqual(linesOf(peers), [["RANK 0 4 6 m1"], [], [], [], ["RANK 3 4 6 m5"]])
    }).pipe(Effect.scoped, onIdleScheduler)
  )

  it.effect("gives other fibers a chance after 256 members", () =>
    Effect.gen(function* () {
      const group = yield* fakeGroup()
      const peers = yield* members(group, 1000)
      const swept = () => peers.filter(({ lastRankSent }, i) => lastRankSent === i - 1).length
      const seen = new Set<number>()
      yield* group.leave(peers[0] as FakePeer)
      for (; swept() < 999; yield* Effect.yieldNow) seen.add(swept())
      // The first has got rank 0 at once.
      assert.deepStrictEqual([...seen], [1, 256, 512, 768])
    }).pipe(Effect.scoped)
  )

  it.effect("is followed by a rest of 20 ms, or twice as long as it took", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      let lost = 0n
      const slowClock: Clock.Clock = Object.assign(Object.create(clock), {
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe() + lost
      })
      yield* Effect.gen(function* () {
        const group = yield* fakeGroup()
        const [a, b, c, d] = yield* members(group, 4)
        // The sweep takes 100 ms.
        d.send = () => {
          lost += 100_000_000n
          return true
        }
        yield* group.leave(a)
        yield* passes(0)
        assert.deepStrictEqual(linesOf([b, c]), [["RANK 0 3 5 m2"], ["RANK 1 3 5 m3"]])
        const e = yield* group.join()
        const f = yield* group.join()
        yield* group.leave(e)
        yield* passes("199 millis")
        assert.deepStrictEqual(f.lines(), [])
        yield* passes("1 millis")
        assert.deepStrictEqual(f.lines(), ["RANK 3 4 8 m6"])
        // One that took no time rests for 20 ms.
        const g = yield* group.join()
        yield* group.leave(f)
        yield* passes("19 millis")
        assert.deepStrictEqual(g.lines(), [])
        yield* passes("1 millis")
        assert.match(g.lines().join(), /^RANK 3 4 \d+ m7$/)
      }).pipe(Effect.provideService(Clock.Clock, slowClock))
    }).pipe(Effect.scoped, onIdleScheduler)
  )

  it.effect("has nothing to do for a newcomer, a name, or the departure of the last member", () =>
    Effect.gen(function* () {
      const group = yield* fakeGroup()
      const [a, b] = yield* members(group, 2)
      const c = yield* group.join()
      yield* group.rename(a, "ann")
      yield* group.leave(c)
      yield* passes("1 second")
      assert.deepStrictEqual(linesOf([a, b]), [["NAMED 0 m1 ann"], []])
    }).pipe(Effect.scoped, onIdleScheduler)
  )
})

describe("a watcher", () => {
  it.effect("hears every change once, in its own encoding, of its own name, too", () =>
    Effect.gen(function* () {
      const group = yield* fakeGroup()
      const [a, b, c] = yield* members(group, 3)
      for (const peer of [b, c]) group.group.notifier.watch(peer)
      c.codec = jsonCodec
      yield* group.join("dora")
      yield* group.rename(b, "bea")
      yield* group.stepDown(a)
      const text = ["JOINED 3 m4", "NAMED 3 m4 dora", "NAMED 1 m2 bea", "MOVED 0 3 m1", "RANK 0 4 5 m2"]
      assert.deepStrictEqual(b.lines(), text)
      assert.deepStrictEqual(
        c.lines().map((line) => JSON.parse(line)),
        [
          { _tag: "Joined", rank: 3, member: "m4" },
          { _tag: "Named", rank: 3, member: "m4", name: "dora" },
          { _tag: "Named", rank: 1, member: "m2", name: "bea" },
          { _tag: "Moved", from: 0, to: 3, member: "m1" }
        ]
      )
    }).pipe(Effect.scoped, onIdleScheduler)
  )

  it.effect("hears of no move where nobody moved, nothing of its own departure, and nothing of a stop", () =>
    Effect.gen(function* () {
      const group = yield* fakeGroup()
      const [a, b, c] = yield* members(group, 3)
      for (const peer of [a, c]) group.group.notifier.watch(peer)
      yield* group.stepDown(c)
      assert.deepStrictEqual([a.lines(), c.lines()], [[], []])
      yield* group.leave(c)
      assert.deepStrictEqual([a.lines(), c.lines()], [["LEFT 2 m3 quit"], []])
      yield* group.join()
      assert.deepStrictEqual([a.lines(), c.lines()], [["JOINED 2 m4"], []])
      group.server.stopping = true
      yield* group.leave(b, "shutting down")
      yield* group.join("eve")
      yield* settled
      assert.deepStrictEqual(a.lines(), [])
    }).pipe(Effect.scoped, onIdleScheduler)
  )
})
