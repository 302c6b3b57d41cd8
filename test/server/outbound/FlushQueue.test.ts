import { assert, describe, it } from "@effect/vitest"
import { FlushQueue } from "../../../src/server/outbound/FlushQueue.ts"

describe("FlushQueue", () => {
  it("flushes each once, in the order in which they were added", () => {
    const queue = new FlushQueue()
    const flushed: Array<string> = []
    for (const name of ["a", "b", "c"]) queue.add({ flush: () => flushed.push(name) })
    assert.deepStrictEqual(flushed, [])
    queue.flush()
    assert.deepStrictEqual(flushed, ["a", "b", "c"])
    queue.flush()
    assert.deepStrictEqual(flushed, ["a", "b", "c"])
  })

  it("flushes those that a flush adds at the next flush", () => {
    const queue = new FlushQueue()
    let flushes = 0
    const again = {
      flush: () => {
        flushes++
        queue.add(again)
      }
    }
    queue.add(again)
    queue.flush()
    assert.strictEqual(flushes, 1)
    queue.flush()
    assert.strictEqual(flushes, 2)
  })
})
