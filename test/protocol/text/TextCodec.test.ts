import { assert, describe, it } from "@effect/vitest"
import { ClientMessage, ServerMessage } from "../../../src/protocol/Messages.ts"
import { helpTexts, textCodec } from "../../../src/protocol/text/TextCodec.ts"

const success = <A>(message: A) => ({ _tag: "Success" as const, success: message })

/** `message` without what only JSON can say. */
const inText = <A extends { readonly _tag: string }>(message: A): A => {
  const { truncated, timeout, ...rest } = message as A & { truncated?: unknown; timeout?: unknown }
  const said: Record<string, unknown> = { ...rest }
  if (message._tag === "Rank") delete said.leadIn
  if (message._tag === "Member") delete said.lease
  if (message._tag === "Exec") for (const guard of ["epoch", "member"]) delete said[guard]
  if (said.output === "") delete said.output
  return said as A
}

const onlyJson = ["Hello", "Welcome", "Roster"]

/** The message, or the reason and detail of the `ERROR`. */
const judged = (line: string) => {
  const said = textCodec.decodeClient(line)
  if (said._tag === "Success") return said.success
  const { detail, reason } = said.failure
  return detail === undefined ? reason : `${reason}: ${detail}`
}

const HELP = "unknown command: try HELP"
const TO = "malformed: expected a rank (3), a range (2-5), *, @name or @m7"
const STATUS = "malformed: expected an exit code (0-255), or denied, failed, cancelled or busy"
const EXEC = "malformed: write EXEC[#<id>] <to> <command>"
const NAME = "malformed: expected a name: 1-64 of A-Z a-z 0-9 . _ -, not like a member id, not a lone -"

describe("text encoding", () => {
  it.prop(
    "reads back every message of a client",
    [ClientMessage],
    ([message]) => {
      if (onlyJson.includes(message._tag)) return
      assert.deepInclude(textCodec.decodeClient(textCodec.encodeClient(message)), success(inText(message)))
    },
    { arbitrary: { runs: 2000 } }
  )

  it.prop(
    "reads back every message of the server",
    [ServerMessage],
    ([message]) => {
      if (onlyJson.includes(message._tag)) return
      assert.deepInclude(textCodec.decodeServer(textCodec.encodeServer(message)), success(inText(message)))
    },
    { arbitrary: { runs: 2000 } }
  )

  it.prop(
    "accepts a verb in upper and lower case",
    [ClientMessage],
    ([message]) => {
      const line = textCodec.encodeClient(message)
      const verb = /^[A-Z]+/.exec(line)![0]
      if (onlyJson.includes(message._tag)) return
      for (const cased of [verb.toLowerCase(), verb.charAt(0) + verb.slice(1).toLowerCase()]) {
        assert.deepInclude(textCodec.decodeClient(cased + line.slice(verb.length)), success(inText(message)))
      }
    },
    { arbitrary: { runs: 500 } }
  )

  it.each([
    ["", HELP],
    [" ", HELP],
    ["FROB", HELP],
    ["FROB 1 x", HELP],
    ["EXECUTE 1 x", `${HELP}; did you mean EXEC?`],
    ["RANKS#1", `${HELP}; did you mean RANKS?`],
    ["AUTH", "malformed: write AUTH <token>"],
    ["AUTH two words", "malformed: expected 1-512 printable characters without spaces"],
    ["HELLO", HELP],
    ["EXEC# 1 x", "malformed: expected an id: 1-64 of A-Z a-z 0-9 . _ -"],
    ["EXEC#a#b 1 x", "malformed: expected an id: 1-64 of A-Z a-z 0-9 . _ -"],
    [`EXEC#${"a".repeat(65)} 1 x`, "malformed: expected an id: 1-64 of A-Z a-z 0-9 . _ -"],
    ["EXEC#1 1", EXEC],
    ["CANCEL", "malformed: write CANCEL#<id>"],
    ["CANCEL#1 2", "malformed: write CANCEL#<id>"],
    ["OUTPUT 1 x", "malformed: write OUTPUT#<id> <text>"],
    ["OUTPUT#1", "malformed: write OUTPUT#<id> <text>"],
    ["RESULT#1 256", STATUS],
    ["RESULT#1 ok", STATUS],
    ["RESULT#1  0", "malformed: write RESULT#<id> <status> [<output>]"],
    ["RESULT#1", "malformed: write RESULT#<id> <status> [<output>]"],
    ["JOIN", "malformed: write JOIN <group>"],
    ["JOIN a/b", "malformed: expected a group: 1-64 of A-Z a-z 0-9 . _ -"],
    ["__proto__", HELP],
    ["constructor 1", HELP],
    ["expla\u0131n 1", `${HELP}; did you mean EXPLAIN?`],
    ['{"_tag":"Ranks"}', HELP],
    ["EXEC", EXEC],
    ["EXEC ", EXEC],
    ["EXEC 1", EXEC],
    ["EXEC 1 ", EXEC],
    ["EXEC  1 x", EXEC],
    ["EXEC\t1 x", `${HELP}; did you mean EXEC?`],
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
    ["WHOIS", "malformed: write WHOIS <who>"],
    ["WHOIS 1", "malformed: expected @name or @m7"],
    ["WHOIS bob", "malformed: expected @name or @m7"],
    ["WHOIS *", "malformed: expected @name or @m7"],
    ["WHOIS @", NAME],
    ["WHOIS @m0", NAME],
    ["WHOIS @a b", NAME],
    ["WHOIS#1 @a", `${HELP}; did you mean WHOIS?`],
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
    ["EXEC#a.B_9- 1 x", { _tag: "Exec", id: "a.B_9-", to: { _tag: "Rank", rank: 1 }, command: "x" }],
    ["OUTPUT#1 a\\nb\\\\n C:\\temp\\x41\\x4", { _tag: "Output", id: "1", text: "a\nb\\n C:\\tempA\\x4" }],
    ["RESULT#1 0", { _tag: "Result", id: "1", status: 0 }],
    ["RESULT#1 0 ", { _tag: "Result", id: "1", status: 0 }],
    ["RESULT#1 255 a  b", { _tag: "Result", id: "1", status: 255, output: "a  b" }],
    ["RESULT#1 denied", { _tag: "Result", id: "1", status: "denied" }],
    ["WHOIS @bob", { _tag: "Whois", who: "bob" }],
    ["whois @m7", { _tag: "Whois", who: "m7" }],
    ["NAME Bob", { _tag: "Name", name: "Bob" }],
    ["WHOIS @BOB", { _tag: "Whois", who: "BOB" }],
    ["cancel#x", { _tag: "Cancel", id: "x" }],
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
  ])("rejects %j from a server", (line) => {
    assert.strictEqual(textCodec.decodeServer(line)._tag, "Failure")
  })

  it.each(["timeout", "lost", "undelivered", "256", "-1", "01", "1.0", "1e0", "ok", "Denied"])(
    "rejects the status %s",
    (status) => {
      assert.match(JSON.stringify(judged(`RESULT#7 ${status}`)), /malformed/)
      // The id is the server's, so it must not look like the end of a command of this client's.
      const said = textCodec.decodeClient(`RESULT#7 ${status}`)
      assert.strictEqual(said._tag === "Failure" ? said.failure.id : "none", undefined)
    }
  )

  it("has a line of help for every verb", () => {
    for (const { fields } of ClientMessage.members) {
      const verb = fields._tag.schema.literal.toUpperCase()
      if (verb === "HELLO") continue
      assert.isTrue(
        helpTexts.some((text) => /^[A-Z]+/.exec(text)![0] === verb),
        verb
      )
    }
  })
})
