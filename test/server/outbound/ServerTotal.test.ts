import { assert, describe, it } from "@effect/vitest"
import { ServerTotal } from "../../../src/server/outbound/ServerTotal.ts"

describe("ServerTotal", () => {
  it("reports each growth beyond its limit, and no shrinking", () => {
    let exceeded = 0
    const total = new ServerTotal(100, () => exceeded++)
    const after = (change: number) => {
      total.add(change)
      return exceeded
    }
    assert.deepStrictEqual([60, 40, 1, 1, -1, 0, -60, 50, 20].map(after), [0, 0, 1, 2, 2, 2, 2, 2, 3])
  })
})
