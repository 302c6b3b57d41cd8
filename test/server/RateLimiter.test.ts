import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { RateLimiter } from "../../src/server/RateLimiter.ts"

/** Of takes, and how many milliseconds after the last. */
const Pauses = Schema.Array(Schema.Literals([0, 0, 0, 1, 40, 99, 250, 1000, 5000])).check(Schema.isMaxLength(200))

const PerSecond = Schema.Literals([1, 3, 10, 50])

describe("a rate limiter", () => {
  it.prop(
    "gives at most the tokens of a second more than come in any time, and refuses one only where that many were taken",
    [PerSecond, Pauses],
    ([perSecond, pauses]) => {
      const limiter = new RateLimiter(perSecond)
      let now = 12_345.678
      /** When tokens were taken. */
      const taken: Array<number> = []
      const takenSince = (from: number) => taken.filter((at) => at >= from).length
      for (const pause of pauses) {
        now += pause
        if (limiter.take(now)) {
          taken.push(now)
          for (const from of taken) {
            assert.isAtMost(takenSince(from), perSecond * (1 + (now - from) / 1000) + 1e-6)
          }
        } else {
          // In some time until now, a token more would have been too many.
          const tooMany = taken.some((from) => takenSince(from) + 1 > perSecond * (1 + (now - from) / 1000) - 1e-6)
          assert.isTrue(tooMany, `refused at ${now} after ${taken}`)
        }
      }
    }
  )

  it("has all its tokens at first, and gets them back evenly", () => {
    const limiter = new RateLimiter(4)
    const taken = (now: number) => Array.from({ length: 6 }, () => limiter.take(now)).filter(Boolean).length
    assert.deepStrictEqual([taken(1000), taken(1249), taken(1250), taken(1750), taken(60_000)], [4, 0, 1, 2, 4])
  })

  it("takes a token back that was not needed, and no more than it gave", () => {
    const limiter = new RateLimiter(1)
    assert.isTrue(limiter.take(0))
    assert.isFalse(limiter.take(0))
    limiter.giveBack()
    assert.isTrue(limiter.take(0))
    limiter.giveBack()
    // A second later there is one, not two.
    assert.deepStrictEqual([limiter.take(1000), limiter.take(1000)], [true, false])
  })

  it("gains nothing from a clock that jumps back", () => {
    const limiter = new RateLimiter(1)
    assert.deepStrictEqual([limiter.take(5000), limiter.take(1000), limiter.take(1999)], [true, false, false])
    assert.isTrue(limiter.take(2000))
  })
})
