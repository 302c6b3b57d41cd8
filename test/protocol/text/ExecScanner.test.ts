import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { ClientMessage } from "../../../src/protocol/Messages.ts"
import { ExecScanner } from "../../../src/protocol/text/ExecScanner.ts"
import { textCodec } from "../../../src/protocol/text/TextCodec.ts"

/** The scanner's reading of `line`; undefined where it leaves the line to `decodeClient`. */
const scan = (line: string) => {
  const scanner = new ExecScanner()
  // Not at the start of the bytes, and not up to their end: the scanner must keep within its slice.
  const bytes = Buffer.from(`9${line}9 9`)
  if (!scanner.scan(bytes, 1, bytes.length - 3)) return undefined
  const { command, everyone, first, idEnd, idStart, last, range } = scanner
  return {
    id: idEnd === idStart ? undefined : bytes.toString("utf8", idStart, idEnd),
    several: everyone || range,
    to: everyone ? ("everyone" as const) : { first, last },
    command: bytes.toString("utf8", command, bytes.length - 3)
  }
}

const read = (line: string) => {
  const said = textCodec.decodeClient(line)
  if (said._tag === "Failure" || said.success._tag !== "Exec") return undefined
  const { command, id, to } = said.success
  switch (to._tag) {
    case "Rank":
      return { id, several: false, to: { first: to.rank, last: to.rank }, command }
    case "Range":
      return { id, several: true, to: { first: to.first, last: to.last }, command }
    case "Everyone":
      return { id, several: true, to: "everyone" as const, command }
    case "Member":
      return undefined
  }
}

/** Beyond 15 digits the scanner may leave a line to the Schema decoder; below, it may not. */
const small = (line: string) => !/[0-9]{16}/.test(line)

const agree = (line: string) => {
  const scanned = scan(line)
  const expected = read(line)
  if (scanned !== undefined || small(line)) assert.deepStrictEqual(scanned, expected, line)
}

const Mutation = Schema.Struct({
  place: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1000 })),
  remove: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 })),
  insert: Schema.Literals(["", " ", "0", "9", "-", "*", "@", "x", "E", "e", "ex", "\t", "1 ", "ä", "  ", "#", "."])
})

describe("ExecScanner", () => {
  it.prop(
    "reads every message of a client as the Schema decoder does",
    [ClientMessage],
    ([message]) => agree(textCodec.encodeClient(message)),
    {
      arbitrary: { runs: 5000 }
    }
  )

  it.prop(
    "reads mutated lines as the Schema decoder does",
    [
      Schema.Literals([
        "EXEC 3 uptime",
        "exec 2-5 a b",
        "EXEC * x",
        "EXEC 0 x",
        "EXEC 10-12 ls -l",
        "EXEC @bob x",
        "EXEC#1 2 x",
        "EXEC#a.B_c-9 2-3 x",
        `EXEC#${"i".repeat(63)} * x`
      ]),
      Schema.Array(Mutation).check(Schema.isMaxLength(4))
    ],
    ([line, mutations]) => {
      for (const { insert, place, remove } of mutations) {
        const at = Math.round((place / 1000) * line.length)
        line = line.slice(0, at) + insert + line.slice(at + remove)
      }
      agree(line)
    },
    { arbitrary: { runs: 20_000 } }
  )

  it("accepts the characters of ids that the Schema decoder accepts", () => {
    for (let code = 0x20; code < 0x7f; code++) agree(`EXEC#a${String.fromCharCode(code)} 1 x`)
    agree(`EXEC#${"i".repeat(64)} 1 x`)
    agree(`EXEC#${"i".repeat(65)} 1 x`)
  })

  it("leaves a rank that may not be exact to the Schema decoder", () => {
    assert.isUndefined(scan(`EXEC ${"9".repeat(16)} x`))
    assert.deepStrictEqual(scan(`EXEC ${"9".repeat(15)} x`)?.to, {
      first: 999_999_999_999_999,
      last: 999_999_999_999_999
    })
  })
})
