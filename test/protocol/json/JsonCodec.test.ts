import { assert, describe, it } from "@effect/vitest"
import { jsonCodec } from "../../../src/protocol/json/JsonCodec.ts"
import { ClientMessage, ServerMessage } from "../../../src/protocol/Messages.ts"

const judged = (line: string) => {
  const said = jsonCodec.decodeClient(line)
  if (said._tag === "Success") return said.success
  const { detail, reason } = said.failure
  return detail === undefined ? reason : `${reason}: ${detail}`
}

/** What no line may hold. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are looked for
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f]/

describe("JSON encoding", () => {
  it.prop(
    "reads back whatever a client says, on one line",
    [ClientMessage],
    ([message]) => {
      const line = jsonCodec.encodeClient(message)
      assert.notMatch(line, CONTROL)
      assert.deepStrictEqual(judged(line), message)
    },
    { arbitrary: { runs: 2000 } }
  )

  it.prop(
    "reads back whatever the server says, on one line",
    [ServerMessage],
    ([message]) => {
      const line = jsonCodec.encodeServer(message)
      assert.notMatch(line, CONTROL)
      assert.deepInclude(jsonCodec.decodeServer(line), { _tag: "Success" as const, success: message })
    },
    { arbitrary: { runs: 2000 } }
  )

  it.each([
    ["{", "malformed: expected one JSON object on one line"],
    ['{"_tag":"Ranks"}{}', "malformed: expected one JSON object on one line"],
    [`${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}`, "unknown command"],
    ["{}", "unknown command"],
    ['{"_tag":"ranks"}', "unknown command"],
    ['{"_tag":"Rank"}', "unknown command"],
    ['{"_tag":["Ranks"]}', "unknown command"],
    ['{"_tag":"constructor"}', "unknown command"],
    ['{"_tag":"Ranks","extra":1}', "malformed: Expected no excess property at"],
    ['{"_tag":"Ranks","__proto__":{}}', "malformed: Expected no excess property at"],
    ['{"_tag":"Exec","to":1,"command":"x"}', "malformed: Expected string"],
    ['{"_tag":"Exec","to":"01","command":"x"}', "malformed: Expected a rank (3), a range (2-5), *, @name or @m7"],
    ['{"_tag":"Exec","to":"1"}', "malformed: Missing key"],
    ['{"_tag":"Exec","to":"1","command":""}', "malformed: Expected text on one line"],
    ['{"_tag":"Exec","to":"1","command":"a\\nEXEC 1 b"}', "malformed: Expected text on one line"],
    ['{"_tag":"Exec","to":"1","command":"a\\u0000"}', "malformed: Expected text on one line"],
    ['{"_tag":"Exec","to":"1","command":"\\ud800"}', "malformed: text without lone surrogates"],
    ['{"_tag":"Exec","to":"1","command":"x","timeout":0}', "malformed: Expected a value greater than 0"],
    ['{"_tag":"Result","id":"1","status":256}', "malformed: Expected"]
  ])("rejects %j as %j", (line, answer) => {
    const judgement = judged(line)
    assert.isString(judgement)
    assert.isTrue((judgement as string).startsWith(answer), judgement as string)
  })

  it("tells which command a rejected line was about", () => {
    const said = jsonCodec.decodeClient('{"_tag":"Exec","id":"a1","to":"x","command":"x"}')
    assert.strictEqual(said._tag === "Failure" ? said.failure.id : undefined, "a1")
  })
})
