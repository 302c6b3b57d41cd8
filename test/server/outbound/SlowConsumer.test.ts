import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import { isCongested, SlowConsumer } from "../../../src/server/outbound/SlowConsumer.ts"

const limits = { maxPending: 1000, maxHold: Duration.millis(500) }

describe("a client", () => {
  it("is congested when more than half of the limit waits", () => {
    assert.deepStrictEqual(
      [0, 500, 501, 1001].map((pending) => isCongested(limits, pending)),
      [false, false, true, true]
    )
  })

  it("makes others wait until it has stalled, counted from when it became congested", () => {
    const slow = new SlowConsumer(limits, 7000)
    assert.deepStrictEqual(
      [7000, 7001, 7499, 7500, 9000].map((now) => slow.holdLeft(now)),
      [500, 499, 1, 0, 0]
    )
  })

  it("flows again when at most a quarter of the limit waits", () => {
    const slow = new SlowConsumer(limits, 0)
    assert.deepStrictEqual(
      [1000, 500, 251, 250, 0].map((pending) => slow.hasRecovered(pending)),
      [false, false, false, true, true]
    )
  })

  it("is a slow consumer when more than the limit waits", () => {
    const slow = new SlowConsumer(limits, 0)
    assert.deepStrictEqual(
      [501, 1000, 1001].map((pending) => slow.verdict(pending)),
      [undefined, undefined, "pending bytes"]
    )
  })
})
