import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, References } from "effect"
import { TestClock } from "effect/testing"
import * as EventLog from "../../../src/server/log/EventLog.ts"

/** A log and its lines. */
const setUp = Effect.fnUntraced(function* () {
  const lines: Array<string> = []
  const logger = Logger.map(Logger.formatStructured, ({ annotations, level, message }) => {
    lines.push([level, message, ...Object.entries(annotations).map(([name, value]) => `${name}=${value}`)].join(" "))
  })
  const log = yield* Effect.provide(EventLog.make, Logger.layer([logger]))
  return { lines, log }
})

describe("the log of events", () => {
  it.effect("uses the loggers and the level of the context that it was made in", () =>
    Effect.gen(function* () {
      const { lines, log } = yield* setUp()
      log.lost?.("m1", "boss", "g", "10.0.0.1:5", "heartbeat")
      log.lateResults?.(3)
      assert.deepStrictEqual(lines, ["INFO lost member=m1 name=boss group=g address=10.0.0.1:5 reason=heartbeat"])
      const verbose = yield* Effect.provideService(setUp(), References.MinimumLogLevel, "Debug")
      verbose.log.lateResults?.(3)
      assert.deepStrictEqual(verbose.lines, ["DEBUG dropped late results results=3"])
    })
  )

  it.effect("has ten lines a second about one member that changes the order, and counts the others", () =>
    Effect.gen(function* () {
      const { lines, log } = yield* setUp()
      for (let i = 0; i < 25; i++) log.named?.("m1", `n${i}`, "g")
      assert.strictEqual(lines.length, 10)
      log.named?.("m2", "other", "g")
      assert.strictEqual(lines.at(-1), "INFO renamed member=m2 name=other group=g unlogged=15")
      yield* TestClock.adjust("1 second")
      log.moved?.("m1", "n24", "g", 0, 1)
      assert.strictEqual(lines.at(-1), "INFO stepped down member=m1 name=n24 group=g from=0 to=1")
    })
  )

  it.effect("has ten lines a second about all clients without a seat together, and counts the others", () =>
    Effect.gen(function* () {
      const { lines, log } = yield* setUp()
      for (let i = 0; i < 30; i++) log.refused?.(`10.0.0.${i}:1`, "group full", "server full", undefined)
      assert.strictEqual(lines.length, 10)
      assert.strictEqual(lines[0], "WARN refused address=10.0.0.0:1 reason=server full cause=group full")
      yield* TestClock.adjust("1 second")
      log.authFailed?.("10.0.0.9:1", "token for another name")
      assert.strictEqual(
        lines.at(-1),
        "WARN authentication failed address=10.0.0.9:1 reason=token for another name unlogged=20"
      )
    })
  )

  it.effect("says which other protocol a client speaks, as often as it speaks of clients without a seat", () =>
    Effect.gen(function* () {
      const { lines, log } = yield* setUp()
      log.otherProtocol?.("10.0.0.1:5", "m1", "tls")
      assert.deepStrictEqual(lines, ["WARN another protocol member=m1 address=10.0.0.1:5 cause=tls"])
      for (let i = 0; i < 30; i++) log.otherProtocol?.("10.0.0.1:5", undefined, "http")
      assert.strictEqual(lines.length, 10)
    })
  )

  it.effect("says which group a member joined, and not that it left the group before", () =>
    Effect.gen(function* () {
      const { lines, log } = yield* setUp()
      log.joined?.("m1", undefined, "jobs", "10.0.0.1:5")
      log.left?.("m1", undefined, "default", "10.0.0.1:5", "joined another group")
      log.leaderChanged?.("m1", undefined, "jobs", 1_000_000)
      assert.deepStrictEqual(lines, [
        "INFO joined member=m1 group=jobs address=10.0.0.1:5",
        "INFO leader changed member=m1 group=jobs epoch=1000000 since=1970-01-01T00:00:01.000Z"
      ])
    })
  )

  it.effect("says since when a member leads, also if the epoch is ahead of the wall clock", () =>
    Effect.gen(function* () {
      const { lines, log } = yield* setUp()
      const HOUR = 3_600_000
      yield* TestClock.adjust(2 * HOUR)
      for (const millis of [1.5 * HOUR, 2 * HOUR, 3 * HOUR]) log.leaderChanged?.("m1", undefined, "g", millis * 1000)
      yield* TestClock.setTime(HOUR)
      log.leaderChanged?.("m1", undefined, "g", 2 * HOUR * 1000 + 1)
      assert.deepStrictEqual(
        lines.map((line) => line.slice(line.indexOf("since="))),
        ["01:30", "02:00", "02:00", "01:00"].map((time) => `since=1970-01-01T${time}:00.000Z`)
      )
    })
  )
})
