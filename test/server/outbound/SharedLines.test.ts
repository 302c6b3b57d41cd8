import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Line } from "../../../src/protocol/LineBytes.ts"
import { SharedLines } from "../../../src/server/outbound/SharedLines.ts"

describe("SharedLines", () => {
  it.prop(
    "keeps every line, also after it begins another buffer",
    [Schema.Array(Schema.Literals([0, 1, 200, 30_000, 65_526, 65_527, 100_000])).check(Schema.isMaxLength(20))],
    ([lengths]) => {
      const shared = new SharedLines()
      const line = new Line()
      const added = lengths.map((length, i) => {
        line.head.write("EXEC ").number(i).text(" ")
        line.bytes = Buffer.from(`__${"x".repeat(length)}__`)
        line.start = 2
        line.end = 2 + length
        shared.add(line)
        return { text: `EXEC ${i} ${"x".repeat(length)}\n`, bytes: shared.bytes, start: shared.start, end: shared.end }
      })
      for (const { bytes, end, start, text } of added) {
        assert.strictEqual(bytes.toString("latin1", start, end), text)
      }
    }
  )
})
