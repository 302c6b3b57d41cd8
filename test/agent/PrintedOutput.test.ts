/** Which bytes of an output are sent, kept and counted. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { PrintedOutput } from "../../src/agent/PrintedOutput.ts"

const bytes = (text: string) => new TextEncoder().encode(text)

/** What is sent of these pieces, as it comes and at the end. */
const sent = (limit: number, pieces: ReadonlyArray<Uint8Array>, line?: string) => {
  const printed = new PrintedOutput(limit)
  const early = pieces.map((piece) => {
    printed.add(piece)
    return printed.take(8192)
  })
  return { early: early.join(""), end: printed.end(line), truncated: printed.truncated }
}

describe("PrintedOutput", () => {
  it("sends the first half as it comes, and the last part at the end", () => {
    assert.deepStrictEqual(sent(8, [bytes("abcdefgh")]), { early: "abcd", end: "efgh", truncated: false })
    assert.deepStrictEqual(sent(8, [bytes("abcdefghi")]), {
      early: "abcd",
      end: "\n... 1 byte is missing ...\nfghi",
      truncated: true
    })
    const pieces = [..."0123456789\n0123456789"].map(bytes)
    const expected = { early: "01234", end: "\n... 11 bytes are missing ...\n56789", truncated: true }
    assert.deepStrictEqual(sent(10, pieces), expected)
    assert.deepStrictEqual(sent(10, [Buffer.concat(pieces)]), expected)
  })

  it("ends with a line of the caller's", () => {
    assert.strictEqual(sent(20, [bytes("abc")], "ended").end, "\nended\n")
    assert.strictEqual(sent(20, [bytes("abc\n")], "ended").end, "ended\n")
    assert.strictEqual(sent(20, [], "ended").end, "ended\n")
    assert.strictEqual(sent(4, [bytes("abcdef")], "ended").end, "\n... 2 bytes are missing ...\nef\nended\n")
  })

  it("sends nothing but the caller's line where the limit is 0", () => {
    assert.deepStrictEqual(sent(0, [bytes("abc")]), { early: "", end: "", truncated: true })
    assert.strictEqual(sent(0, [bytes("abc")], "ended").end, "ended\n")
  })

  it("cuts no character in two", () => {
    assert.deepStrictEqual(sent(6, [bytes("aaé"), bytes("bbbb")]), {
      early: "aa",
      end: "\n... 3 bytes are missing ...\nbbb",
      truncated: true
    })
    assert.deepStrictEqual(sent(6, [bytes("aaabbé€")]), {
      early: "aaa",
      end: "\n... 4 bytes are missing ...\n€",
      truncated: true
    })
    const split = [...bytes("\ufeffé€😀")].map((byte) => Uint8Array.of(byte))
    const { early, end } = sent(24, split)
    assert.strictEqual(early + end, "\ufeffé€😀")
  })

  it.prop(
    "sends the first and the last bytes, and counts the rest",
    [Schema.Array(Schema.String), Schema.Literals([0, 1, 2, 3, 7, 16, 100])],
    ([texts, limit]) => {
      const pieces = texts.map((text) => bytes(text.replace(/[^ -~\n]/g, "x")))
      const all = Buffer.concat(pieces).toString()
      const { early, end, truncated } = sent(limit, pieces)
      assert.strictEqual(truncated, all.length > limit)
      if (!truncated) return assert.strictEqual(early + end, all)
      if (limit === 0) return assert.strictEqual(early + end, "")
      const head = all.slice(0, Math.floor(limit / 2))
      const tail = all.slice(all.length - Math.ceil(limit / 2))
      const newline = head === "" || head.endsWith("\n") ? "" : "\n"
      assert.strictEqual(
        early + end,
        `${head}${newline}... ${all.length - limit} ${all.length - limit === 1 ? "byte is" : "bytes are"} missing ...\n${tail}`
      )
    },
    { arbitrary: { runs: 500 } }
  )
})
