import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Lines, Next } from "../../src/protocol/Lines.ts"

interface Found {
  readonly line: string
  readonly wide: boolean
  readonly control: boolean
}

/** All lines of the chunks; the last is "too long" where that is where they end. */
const linesOf = (chunks: ReadonlyArray<Uint8Array>, limit = 65_536): Array<Found | "too long"> => {
  const lines = new Lines(limit)
  const found: Array<Found | "too long"> = []
  for (const chunk of chunks) {
    lines.push(chunk)
    for (let next = lines.next(); next !== Next.More; next = lines.next()) {
      if (next === Next.TooLong) return [...found, "too long"]
      const { bytes, control, end, start, wide } = lines
      found.push({ line: Buffer.from(bytes.subarray(start, end)).toString("latin1"), wide, control })
    }
  }
  return found
}

const bytes = (text: string) => Buffer.from(text, "latin1")

/** `text` cut after each of the places, in 1/1000 of its length. */
const cut = (text: Buffer, places: ReadonlyArray<number>): Array<Uint8Array> => {
  const ends = places.map((place) => Math.round((place / 1000) * text.length)).sort((a, b) => a - b)
  return [0, ...ends].map((start, i) => text.subarray(start, ends[i] ?? text.length))
}

/** A control character other than TAB, in the bytes of UTF-8. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are looked for
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f]|\xc2[\x80-\x9f]/

const Place = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1000 }))
const Piece = Schema.Literals([
  "\n",
  "\r\n",
  "\r",
  "EXEC 1 x",
  "a",
  "\t",
  "\0",
  "\x1b[2J",
  "\x7f",
  "\xc3\xa4",
  "\xff",
  // U+009B, U+00A0, and halves of U+0080 to U+009F.
  "\xc2\x9b",
  "\xc2\xa0",
  "\xc2",
  "\x80",
  "\x9f",
  "",
  // Long enough that four bytes are looked at together, and of lengths that no four divide.
  `${"~ ".repeat(65)}x`,
  "y".repeat(303)
])

describe("Lines", () => {
  it.prop(
    "finds the same lines wherever the bytes are split",
    [Schema.Array(Piece), Schema.Array(Place), Schema.Int.check(Schema.isBetween({ minimum: 4, maximum: 40 }))],
    ([pieces, places, limit]) => {
      const text = bytes(pieces.join(""))
      const whole = linesOf([text], limit)
      assert.deepStrictEqual(linesOf(cut(text, places), limit), whole)
      assert.deepStrictEqual(
        linesOf(
          Array.from(text, (byte) => Uint8Array.of(byte)),
          limit
        ),
        whole
      )
    },
    { arbitrary: { runs: 3000 } }
  )

  it.prop(
    "finds the lines that splitting at LF finds",
    [Schema.Array(Piece)],
    ([pieces]) => {
      const text = pieces.join("")
      const expected = text
        .split("\n")
        .slice(0, -1)
        .map((line) => line.replace(/\r$/, ""))
        .filter((line) => line !== "")
        .map((line) => ({ line, wide: /[\x80-\xff]/.test(line), control: CONTROL.test(line) }))
      assert.deepStrictEqual(linesOf([bytes(text)]), expected)
    },
    { arbitrary: { runs: 2000 } }
  )

  it.each([15, 16, 17])("a line of %i bytes where 16 are the limit", (length) => {
    const text = `${"x".repeat(length - 1)}\n`
    const expected: ReadonlyArray<unknown> =
      length > 16 ? ["too long"] : [{ line: "x".repeat(length - 1), wide: false, control: false }]
    assert.deepStrictEqual<unknown>(linesOf([bytes(text)], 16), expected)
    assert.deepStrictEqual<unknown>(linesOf([bytes(text.slice(0, 9)), bytes(text.slice(9))], 16), expected)
  })

  it("counts a CR as part of the line, and knows a line is too long before it ends", () => {
    assert.strictEqual(linesOf([bytes(`${"x".repeat(14)}\r\n`)], 16).length, 1)
    assert.deepStrictEqual(linesOf([bytes(`${"x".repeat(15)}\r\n`)], 16), ["too long"])
    assert.deepStrictEqual(linesOf([bytes("x".repeat(15))], 16), [])
    assert.deepStrictEqual(linesOf([bytes("x".repeat(16))], 16), ["too long"])
  })

  it("shows the beginning of a line that is not complete, or too long, wherever it was split", () => {
    for (const [chunks, expected] of [
      [["PING\n"], ""],
      [["PING\nab"], "ab"],
      [["PING\na", "b"], "ab"],
      [["a", "bcdef"], "abcd"],
      [["PING\n\nab", "c".repeat(20)], "abcc"],
      [["PING\n", "d".repeat(20)], "dddd"]
    ] as const) {
      const lines = new Lines(16)
      for (const chunk of chunks) {
        lines.push(bytes(chunk))
        while (lines.next() === Next.Line);
      }
      assert.strictEqual(Buffer.from(lines.beginning(4)).toString(), expected)
    }
  })

  it("keeps no more than the limit of a line that comes byte by byte", () => {
    const lines = new Lines(1024)
    for (let i = 0; i < 1023; i++) {
      lines.push(Uint8Array.of(0x78))
      assert.strictEqual(lines.next(), Next.More)
    }
    lines.push(Uint8Array.of(0x78))
    assert.strictEqual(lines.next(), Next.TooLong)
  })
})
