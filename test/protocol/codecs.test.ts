/** What both encodings promise of the lines that they make as bytes. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { codecOf } from "../../src/protocol/codecs.ts"
import { CommandId, Whole } from "../../src/protocol/Ids.ts"
import { jsonCodec } from "../../src/protocol/json/JsonCodec.ts"
import type { Line } from "../../src/protocol/LineBytes.ts"
import { ServerMessage, Words } from "../../src/protocol/Messages.ts"
import { textCodec } from "../../src/protocol/text/TextCodec.ts"

/** The line as a client gets it, without its LF. */
const received = ({ bytes, end, head, length, start }: Line): string => {
  const line = Buffer.concat([head.bytes.subarray(0, head.length), bytes.subarray(start, end)])
  assert.strictEqual(length, line.length + 1)
  return line.toString()
}

/** The bytes of `text` in the middle of others. */
const amid = (text: string) => {
  const bytes = Buffer.from(`9${text}9 9`)
  return [bytes, 1, bytes.length - 3] as const
}

const Roster = ServerMessage.members.find(({ fields }) => fields._tag.schema.literal === "Roster")!
const isRoster = Schema.is(Roster)

describe.each([
  ["text", textCodec],
  ["JSON", jsonCodec]
] as const)("%s", (_, codec) => {
  it.prop(
    "writes an EXEC to each of its targets as encodeServer does",
    [Whole, Whole, Words, Schema.Array(Schema.UndefinedOr(Whole)).check(Schema.isMaxLength(4))],
    ([from, epoch, command, ids]) => {
      const lines = codec.exec(from, epoch, ...amid(command))
      for (const id of ids) {
        const withId = id === undefined ? {} : { id: `${id}` }
        const expected = codec.encodeServer({ _tag: "Exec", ...withId, from, command, epoch })
        assert.strictEqual(received(lines.line(id)), expected)
      }
    },
    { arbitrary: { runs: 1000 } }
  )

  it.prop(
    "writes a RESULT as encodeServer does",
    [CommandId, Whole, Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 })), Schema.UndefinedOr(Words)],
    ([id, rank, status, words]) => {
      const output = words?.replaceAll("\\", "/")
      const expected = codec.encodeServer({ _tag: "Result", id, rank, status, ...(output && { output }) })
      assert.strictEqual(received(codec.result(id, rank, status, ...amid(output ?? ""))), expected)
    },
    { arbitrary: { runs: 1000 } }
  )

  it.prop(
    "writes a list of members, in pieces of any size, as encodeServer does",
    [ServerMessage, Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 3 }))],
    ([message, size]) => {
      if (!isRoster(message) || message._tag !== "Roster") return
      const { epoch, members } = message
      const pieces = Array.from({ length: Math.ceil(members.length / size) }, (_, i) =>
        members.slice(i * size, (i + 1) * size)
      )
      const bytes = Buffer.concat([...codec.encodeMembers(pieces, message.size, epoch)])
      assert.strictEqual(bytes.toString(), `${codec.encodeServer(message)}\n`)
    },
    { arbitrary: { runs: 5000 } }
  )

  it("makes a piece of a list of members when it is taken", () => {
    let made = 0
    function* pieces() {
      for (; ; made++) yield [{ rank: made, member: "m1", address: "x" }]
    }
    const list = codec.encodeMembers(pieces(), 1, 1)
    for (let taken = 0; taken < 3; taken++) list.next()
    assert.isAtMost(made, 3)
  })

  it("keeps a byte order mark in a command and in an output", () => {
    assert.include(received(codec.exec(0, 1, ...amid("\ufeffx")).line(undefined)), "\ufeffx")
    assert.include(received(codec.result("a", 1, 0, ...amid("\ufeffx"))), "\ufeffx")
  })
})

describe("text", () => {
  it("passes the bytes of a command and of an output on where they are", () => {
    const [bytes, start, end] = amid("uptime")
    const lines = textCodec.exec(0, 1, bytes, start, end)
    for (const id of [undefined, 7]) {
      const to = lines.line(id)
      assert.strictEqual(to.bytes, bytes)
      assert.deepStrictEqual([to.start, to.end], [start, end])
    }
    assert.strictEqual(textCodec.result("a", 1, 0, bytes, start, end).bytes, bytes)
  })
})

describe("codecOf", () => {
  it("takes a line that begins with { for JSON, and any other for text", () => {
    for (let byte = 0; byte < 256; byte++) assert.strictEqual(codecOf(byte), byte === 0x7b ? jsonCodec : textCodec)
    assert.strictEqual(codecOf(undefined), textCodec)
    assert.deepStrictEqual([textCodec.judgesControls, jsonCodec.judgesControls], [false, true])
  })
})
