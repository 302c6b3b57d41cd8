/** Reserved seats alone: when reservations end, and that nothing is left of them. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Scope } from "effect"
import { TestClock } from "effect/testing"
import { type Reservation, ReservedSeats } from "../../../src/server/admission/ReservedSeats.ts"
import type { Seat } from "../../../src/server/group/Seat.ts"
import { monotonicMillis } from "../../../src/server/time.ts"
import { fakePeer } from "../../support/fakePeer.ts"

const reservation = (id: number): Reservation => ({
  peer: fakePeer(`m${id}`),
  // Nothing here looks at the seat.
  seat: {} as Seat,
  name: undefined,
  bearer: undefined,
  reason: "reset",
  leasedUntil: 0,
  counts: true
})

const setUp = Effect.gen(function* () {
  const now = monotonicMillis(yield* Clock.Clock)
  const expired: Array<string> = []
  const seats = new ReservedSeats(yield* Scope.Scope, now, ({ peer }) =>
    Effect.sync(() => {
      expired.push(peer.member)
    })
  )
  return { seats, expired, start: now() }
})

describe("reserved seats", () => {
  it.effect("leave nothing behind, however many there were", () =>
    Effect.gen(function* () {
      const { expired, seats, start } = yield* setUp
      for (let i = 0; i < 2000; i++) {
        yield* seats.add(reservation(i), start + i)
        if (i % 100 === 99) yield* TestClock.adjust(100)
      }
      assert.strictEqual(expired.length, 2000)
      assert.deepStrictEqual(seats.all(), [])
      assert.deepStrictEqual(seats.counted("unknown"), { total: 0, subnet: 0 })
    })
  )

  it.effect("end at the last deadline, or before, and only once", () =>
    Effect.gen(function* () {
      const { expired, seats, start } = yield* setUp
      const [early, moved] = [reservation(1), reservation(2)]
      yield* seats.add(early, start + 10)
      yield* seats.add(moved, start + 10)
      yield* seats.endAt(moved, start + 20)
      assert.isTrue(seats.end(early))
      assert.isFalse(seats.end(early))
      yield* TestClock.adjust(19)
      assert.deepStrictEqual(expired, [])
      assert.strictEqual(seats.of(moved.peer), moved)
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(expired, ["m2"])
      assert.isFalse(seats.end(moved))
    })
  )
})
