/** The wait before each connection, and what its `Hello` asks for. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { TestClock } from "effect/testing"
import { NextHello, reconnecting } from "../../src/client/Reconnect.ts"
import { Rejected } from "../../src/client/Rejected.ts"
import { welcome } from "../support/fakeServer.ts"

/** Connects again and again, each connection as long as `lasts` says in milliseconds, for 10 minutes; the waits between them. */
const waits = Effect.fnUntraced(function* (lasts: (connection: number) => number) {
  const waits: Array<number> = []
  let ended: number | undefined
  let connections = 0
  yield* Effect.forkChild(
    reconnecting(
      Effect.gen(function* () {
        const start = yield* Clock.currentTimeMillis
        if (ended !== undefined) waits.push(start - ended)
        yield* Effect.sleep(lasts(connections++))
        ended = yield* Clock.currentTimeMillis
      })
    )
  )
  yield* TestClock.adjust("10 minutes")
  return waits
})

/** Each wait is between half of its limit and the whole of it. */
const assertWithin = (waits: ReadonlyArray<number>, limits: ReadonlyArray<number>) => {
  for (const [index, limit] of limits.entries()) {
    assert.isAtLeast(waits[index]!, limit / 2 - 1)
    assert.isAtMost(waits[index]!, limit + 1)
  }
}

describe("reconnecting", () => {
  it.effect("doubles the wait after each short connection, up to 5 seconds", () =>
    Effect.gen(function* () {
      const all = yield* waits(() => 20)
      assertWithin(all, [100, 200, 400, 800, 1600, 3200, ...all.slice(6).map(() => 5000)])
      assert.isAbove(all.length, 100)
    })
  )

  it.effect("spreads the waits by chance", () =>
    Effect.gen(function* () {
      const longest = (yield* waits(() => 0)).slice(6)
      assert.isBelow(Math.min(...longest), 3500)
      assert.isAbove(Math.max(...longest), 4000)
    })
  )

  it.effect("begins again with a short wait after a connection that lasted", () =>
    Effect.gen(function* () {
      const all = yield* waits((connection) => (connection === 4 ? 5001 : 4999))
      assertWithin(all, [100, 200, 400, 800, 100, 200, 400])
    })
  )

  it.effect("measures connections by the monotonic clock", () =>
    Effect.gen(function* () {
      const test = yield* Clock.Clock
      // A wall clock that jumps ahead an hour whenever it is read.
      let hours = 0
      const jumping: Clock.Clock = {
        ...test,
        currentTimeMillisUnsafe: () => test.currentTimeMillisUnsafe() + 3_600_000 * ++hours,
        currentTimeMillis: Effect.sync(() => test.currentTimeMillisUnsafe() + 3_600_000 * ++hours),
        monotonicTimeNanosUnsafe: () => test.monotonicTimeNanosUnsafe(),
        sleep: (duration) => test.sleep(duration)
      }
      let connections = 0
      yield* Effect.forkChild(
        Effect.provideService(reconnecting(Effect.sync(() => void connections++)), Clock.Clock, jumping)
      )
      yield* TestClock.adjust("1 minute")
      // With a wait of 100 ms after each there would be 600 and more.
      assert.isBelow(connections, 40)
    })
  )
})

describe("the next Hello", () => {
  const hello = () => new NextHello({ name: "a", token: "t" }, 5000)

  it("asks for the app's identity and heartbeat", () => {
    assert.deepStrictEqual(hello().message, { _tag: "Hello", protocol: 1, name: "a", token: "t", heartbeat: 5000 })
  })

  it("asks for the group of the last welcome, and resumes what that offers", () => {
    const next = hello()
    assert.isFalse(next.isResumable)
    next.welcomed(welcome({ group: "jobs", resume: "r" }))
    assert.deepInclude(next.message, { name: "a", group: "jobs", resume: "r" })
    assert.isTrue(next.isResumable)
    next.welcomed(welcome({ group: "jobs" }))
    assert.notProperty(next.message, "resume")
    assert.isFalse(next.isResumable)
  })

  it("asks for a new name or group, and keeps the rest", () => {
    const next = hello()
    next.request({ name: "b" })
    assert.deepInclude(next.message, { name: "b", token: "t" })
  })

  it("says the largest epoch that it has seen of the group that it asks for", () => {
    const next = hello()
    next.saw("jobs", 9)
    assert.notProperty(next.message, "epoch")
    next.welcomed(welcome({ group: "jobs", epoch: 8 }))
    assert.strictEqual(next.message.epoch, 9)
    next.saw("jobs", 12)
    next.saw("jobs", 11)
    assert.strictEqual(next.message.epoch, 12)
    // The server may have started again with its clock behind, and be too old to know better.
    next.welcomed(welcome({ group: "jobs", epoch: 3 }))
    assert.strictEqual(next.message.epoch, 12)
    next.request({ group: "other" })
    assert.notProperty(next.message, "epoch")
    next.saw("other", 1)
    assert.strictEqual(next.message.epoch, 1)
    next.request({ group: "jobs" })
    assert.strictEqual(next.message.epoch, 12)
  })

  it("is without a field that the server may not know, until the next welcome", () => {
    const next = hello()
    const malformed = new Rejected({ reason: "malformed", detail: "epoch: no such field" })
    assert.isFalse(next.isSimplerAfter(malformed))
    next.welcomed(welcome())
    const { epoch, ...simpler } = next.message
    assert.strictEqual(epoch, 7)
    for (const rejected of [
      malformed,
      new Rejected({ reason: "malformed", detail: 'Expected no excess property at ["epoch"]' }),
      new Rejected({ reason: "malformed" }),
      // A server that asks for a token says no more before it knows the token, which it did not find.
      new Rejected({ reason: "not authorized", detail: "say AUTH <token> first" })
    ]) {
      assert.isTrue(next.isSimplerAfter(rejected))
      assert.deepStrictEqual(next.message, simpler)
      assert.isFalse(next.isSimplerAfter(rejected), "it has nothing left to leave out")
      next.welcomed(welcome())
      assert.strictEqual(next.message.epoch, 7)
    }
    for (const rejected of [
      new Rejected({ reason: "not authorized", detail: "wrong token" }),
      new Rejected({ reason: "name taken" }),
      new Rejected({ reason: "rate limited" })
    ]) {
      assert.isFalse(next.isSimplerAfter(rejected))
      assert.strictEqual(next.message.epoch, 7)
    }
  })
})
