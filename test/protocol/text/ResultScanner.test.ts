import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { ClientMessage } from "../../../src/protocol/Messages.ts"
import { ResultScanner } from "../../../src/protocol/text/ResultScanner.ts"
import { textCodec } from "../../../src/protocol/text/TextCodec.ts"

/** The scanner's reading of `line`; undefined where it leaves the line to `decodeClient`. */
const scan = (line: string) => {
  const scanner = new ResultScanner()
  // Not at the start of the bytes, and not up to their end: the scanner must keep within its slice.
  const bytes = Buffer.from(`9${line}9 9`)
  const end = bytes.length - 3
  if (!scanner.scan(bytes, 1, end)) return undefined
  const { id, output, status } = scanner
  return { id: `${id}`, status, output: output < end ? bytes.toString("utf8", output, end) : undefined }
}

/** The Schema decoder's reading of a line that the scanner must read: ids and numbers have up to 15 digits. */
const read = (line: string) => {
  const said = textCodec.decodeClient(line)
  if (said._tag === "Failure" || said.success._tag !== "Result") return undefined
  const { id, output, status } = said.success
  if (typeof status !== "number" || !/^(?:0|[1-9][0-9]{0,14})$/.test(id) || line.includes("\\")) return undefined
  // A trailing space is for the Schema decoder to judge.
  return output === undefined && line.endsWith(" ") ? undefined : { id, status, output }
}

const Mutation = Schema.Struct({
  place: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1000 })),
  remove: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 })),
  insert: Schema.Literals([
    "",
    " ",
    "0",
    "9",
    "25",
    "-",
    "#",
    "x",
    "R",
    "re",
    "\t",
    "1 ",
    "\u00e4",
    "  ",
    "\\\\",
    "\\n"
  ])
})

describe("ResultScanner", () => {
  it.prop(
    "reads every message of a client as the Schema decoder does",
    [ClientMessage],
    ([message]) => assert.deepStrictEqual(scan(textCodec.encodeClient(message)), read(textCodec.encodeClient(message))),
    { arbitrary: { runs: 5000 } }
  )

  it.prop(
    "reads mutated lines as the Schema decoder does",
    [
      Schema.Literals([
        "RESULT#1 0",
        "result#12 255 out put",
        "RESULT#7 256 x",
        "RESULT#123456789012345 1 x",
        "RESULT#1 denied"
      ]),
      Schema.Array(Mutation).check(Schema.isMaxLength(4))
    ],
    ([line, mutations]) => {
      for (const { insert, place, remove } of mutations) {
        const at = Math.round((place / 1000) * line.length)
        line = line.slice(0, at) + insert + line.slice(at + remove)
      }
      assert.deepStrictEqual(scan(line), read(line), line)
    },
    { arbitrary: { runs: 20_000 } }
  )
})
