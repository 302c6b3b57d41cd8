import { assert, describe, it } from "@effect/vitest"
import { LeadIns } from "../../../src/server/group/LeadIns.ts"

const setUp = (settle: number) => {
  const clock = { now: 1000 }
  return { clock, leadIns: new LeadIns(settle, () => clock.now) }
}

describe("the lead-in of a new leader", () => {
  it("is the rest of the time in which the server settles, in every group", () => {
    const { clock, leadIns } = setUp(5000)
    assert.strictEqual(leadIns.of("g"), 5000)
    clock.now += 4999.5
    assert.strictEqual(leadIns.of("other"), 1)
    clock.now += 0.5
    assert.isUndefined(leadIns.of("g"))
  })

  it("is what is left of the longest lease in its group, rounded up", () => {
    const { clock, leadIns } = setUp(0)
    leadIns.defer("g", 3000.2)
    leadIns.defer("g", 2000)
    assert.strictEqual(leadIns.of("g"), 2001)
    assert.isUndefined(leadIns.of("other"))
    clock.now = 3000.3
    assert.isUndefined(leadIns.of("g"))
  })

  it("leaves nothing behind: a lease that has ended is as good as none", () => {
    const { clock, leadIns } = setUp(0)
    leadIns.defer("g", 3000)
    assert.strictEqual(leadIns.leasedUntil("g"), 3000)
    clock.now = 3000
    assert.strictEqual(leadIns.leasedUntil("g"), 0)
  })

  it("costs no more with many groups than with few", () => {
    const { leadIns } = setUp(0)
    // With a look at all groups for each, this would take minutes.
    for (let i = 0; i < 50_000; i++) leadIns.defer(`g${i}`, 10_000)
    assert.strictEqual(leadIns.of("g7"), 9000)
  })

  it("has a limit even if the server never settles", () => {
    assert.strictEqual(setUp(Number.POSITIVE_INFINITY).leadIns.of("g"), Number.MAX_SAFE_INTEGER)
  })
})
