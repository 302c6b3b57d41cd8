import { assert, describe, it } from "@effect/vitest"
import { ClientMessage, ServerMessage } from "../../src/protocol/Message.ts"
import { helpTexts, readClient, readServer, writeClient, writeServer } from "../../src/protocol/Text.ts"

const success = <A>(message: A) => ({ _tag: "Success" as const, success: message })

/** What the server answers, after `ERROR <rank> `; or the message. */
const judged = (line: string) => {
  const said = readClient(line)
  if (said._tag === "Success") return said.success
  const { detail, reason } = said.failure
  return detail === undefined ? reason : `${reason}: ${detail}`
}

const TO = "malformed: expected a rank (3), a range (2-5), *, @name or @m7"
const EXEC = "malformed: write EXEC <to> <command>"
const NAME = "malformed: expected a name: 1-64 of A-Z a-z 0-9 . _ -, not like a member id, not a lone -"

describe("text encoding", () => {
  it.prop(
    "reads back whatever a client says",
    [ClientMessage],
    ([message]) => {
      assert.deepInclude(readClient(writeClient(message)), success(message))
    },
    { arbitrary: { runs: 2000 } }
  )

  it.prop(
    "reads back whatever the server says",
    [ServerMessage],
    ([message]) => {
      assert.deepInclude(readServer(writeServer(message)), success(message))
    },
    { arbitrary: { runs: 2000 } }
  )

  it.prop(
    "takes a verb in any case",
    [ClientMessage],
    ([message]) => {
      const line = writeClient(message)
      const verb = line.split(" ", 1)[0]!
      for (const cased of [verb.toLowerCase(), verb.charAt(0) + verb.slice(1).toLowerCase()]) {
        assert.deepInclude(readClient(cased + line.slice(verb.length)), success(message))
      }
    },
    { arbitrary: { runs: 200 } }
  )

  it.each([
    ["", "unknown command"],
    [" ", "unknown command"],
    ["FROB", "unknown command"],
    ["FROB 1 x", "unknown command"],
    ["EXECUTE 1 x", "unknown command"],
    ["EXEC#1 1 x", "unknown command"],
    ["AUTH secret", "unknown command"],
    ["JOIN other", "unknown command"],
    ["__proto__", "unknown command"],
    ["constructor 1", "unknown command"],
    ["expla\u0131n 1", "unknown command"],
    ['{"_tag":"Ranks"}', "unknown command"],
    ["EXEC", EXEC],
    ["EXEC ", EXEC],
    ["EXEC 1", EXEC],
    ["EXEC 1 ", EXEC],
    ["EXEC  1 x", EXEC],
    ["EXEC\t1 x", "unknown command"],
    ["EXEC 01 x", TO],
    ["EXEC 00 x", TO],
    ["EXEC -1 x", TO],
    ["EXEC +1 x", TO],
    ["EXEC 1.0 x", TO],
    ["EXEC 1e0 x", TO],
    ["EXEC 0x1 x", TO],
    ["EXEC 1- x", TO],
    ["EXEC 1-02 x", TO],
    ["EXEC 1-2-3 x", TO],
    ["EXEC ** x", TO],
    ["EXEC \u0661 x", TO],
    ["EXEC 5-2 x", "malformed: a range runs upwards, like 2-5"],
    ["EXEC @ x", NAME],
    ["EXEC @- x", NAME],
    ["EXEC @m0 x", NAME],
    ["EXEC @a/b x", NAME],
    ["EXPLAIN", "malformed: write EXPLAIN <to>"],
    ["EXPLAIN 1 2", TO],
    ["RANKS 1", "malformed: write RANKS"],
    ["WATCH all", "malformed: write WATCH"],
    ["YIELD 3", "malformed: write YIELD"],
    ["QUIT now", "malformed: write QUIT"],
    ["NAME", "malformed: write NAME <name>"],
    ["NAME a b", NAME],
    ["NAME m7", NAME],
    ["NAME m007", NAME],
    ["NAME -", NAME],
    [`NAME ${"a".repeat(65)}`, NAME],
    ["NAME bj\u00f6rn", NAME]
  ])("rejects %j as %j", (line, answer) => {
    assert.strictEqual(judged(line), answer)
  })

  it.each([
    ["EXEC 0 x", { _tag: "Exec", to: { _tag: "Rank", rank: 0 }, command: "x" }],
    ["exec 1  two\tspaces ", { _tag: "Exec", to: { _tag: "Rank", rank: 1 }, command: " two\tspaces " }],
    ["EXEC 3-3 x", { _tag: "Exec", to: { _tag: "Range", first: 3, last: 3 }, command: "x" }],
    ["EXEC * \u00fc\u{1f600}", { _tag: "Exec", to: { _tag: "Everyone" }, command: "\u00fc\u{1f600}" }],
    ["EXEC @m7 x", { _tag: "Exec", to: { _tag: "Member", who: "m7" }, command: "x" }],
    ["EXEC @m7x x", { _tag: "Exec", to: { _tag: "Member", who: "m7x" }, command: "x" }],
    [`EXEC ${"9".repeat(300)} x`, { _tag: "Exec", to: { _tag: "Rank", rank: Number.MAX_SAFE_INTEGER }, command: "x" }],
    [
      `EXEC 1-${"9".repeat(300)} x`,
      { _tag: "Exec", to: { _tag: "Range", first: 1, last: Number.MAX_SAFE_INTEGER }, command: "x" }
    ],
    ["PING", { _tag: "Ping" }],
    ["PING ", { _tag: "Ping" }],
    ["PING a b", { _tag: "Ping", text: "a b" }],
    [`NAME ${"a".repeat(64)}`, { _tag: "Name", name: "a".repeat(64) }]
  ])("reads %j", (line, message) => {
    assert.deepStrictEqual<unknown>(judged(line), message)
  })

  it.each([
    "RANK 01 1 5 m1",
    "RANK 0 1 5",
    "RANK 0 1 5 m01",
    "RANK 1e0 1 5 m1",
    "rank 0 1 5 m1",
    "ERROR 0 no such reason",
    "ERROR - malformed:",
    "BYE now",
    "END 1 2 3",
    "TARGETS 1 1-m1",
    "toString",
    ""
  ])("does not take %j for something the server says", (line) => {
    assert.strictEqual(readServer(line)._tag, "Failure")
  })

  it("has help on every verb", () => {
    for (const { fields } of ClientMessage.members) {
      const verb = fields._tag.schema.literal.toUpperCase()
      assert.isTrue(
        helpTexts.some((text) => text.split(" ", 1)[0] === verb),
        verb
      )
    }
  })
})
