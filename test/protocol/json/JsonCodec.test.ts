import { assert, describe, it } from "@effect/vitest"
import { jsonCodec } from "../../../src/protocol/json/JsonCodec.ts"
import { ClientMessage, ServerMessage } from "../../../src/protocol/Messages.ts"

const judged = (line: string) => {
  const said = jsonCodec.decodeClient(line)
  if (said._tag === "Success") return said.success
  const { detail, reason } = said.failure
  return detail === undefined ? reason : `${reason}: ${detail}`
}

/** No line may hold one. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are looked for
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/

const NO_TAG = "unknown command: try HELP; _tag must name a message"
const TO = "malformed: to: expected a rank (3), a range (2-5), *, @name or @m7"
const NAME = "expected a name: 1-64 of A-Z a-z 0-9 . _ -, not like a member id, not a lone -"
const STATUS = "expected an exit code (0-255), or denied, failed, cancelled or busy"
const MAX = Number.MAX_SAFE_INTEGER

describe("JSON encoding", () => {
  it.prop(
    "writes every message of a client on one line, and reads it back",
    [ClientMessage],
    ([message]) => {
      const line = jsonCodec.encodeClient(message)
      assert.notMatch(line, CONTROL)
      assert.deepStrictEqual(judged(line), message)
    },
    { arbitrary: { runs: 2000 } }
  )

  it.prop(
    "writes every message of the server on one line, and reads it back",
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
    [`${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}`, NO_TAG],
    ["{}", NO_TAG],
    ['{"_tag":["Ranks"]}', NO_TAG],
    ['{"_tag":"ranks"}', "unknown command: try HELP; did you mean Ranks?"],
    ['{"_tag":"Rank"}', "unknown command: try HELP; did you mean Ranks?"],
    ['{"_tag":"constructor"}', "unknown command: try HELP"],
    ['{"_tag":"Ranks","extra":1}', "malformed: extra: no such field"],
    ['{"_tag":"Ranks","two words":1}', 'malformed: "two words": no such field'],
    ['{"_tag":"Ranks","a\\u0080\u009f\\u00a0":1}', 'malformed: "a\\u0080\\u009f\u00a0": no such field'],
    ['{"_tag":"Ranks","a\\u001b\\u007f\\ud800":1}', 'malformed: "a\\u001b\\u007f\\ud800": no such field'],
    [`{"_tag":"Ranks","${"k".repeat(5000)}":1}`, `malformed: ${"k".repeat(100)}: no such field`],
    ['{"_tag":"Exec","to":"01","command":"x"}', TO],
    ['{"_tag":"Exec","to":"1e0","command":"x"}', TO],
    ['{"_tag":"Exec","to":"","command":"x"}', TO],
    ['{"_tag":"Exec","to":1.5,"command":"x"}', TO],
    ['{"_tag":"Exec","to":-1,"command":"x"}', TO],
    ['{"_tag":"Exec","to":1e400,"command":"x"}', TO],
    ['{"_tag":"Exec","to":true,"command":"x"}', TO],
    ['{"_tag":"Exec","to":[1],"command":"x"}', TO],
    ['{"_tag":"Explain","to":null}', TO],
    ['{"_tag":"Exec","to":"5-2","command":"x"}', "malformed: to: a range runs upwards, like 2-5"],
    ['{"_tag":"Exec","to":"@m0","command":"x"}', `malformed: to: ${NAME}`],
    ['{"_tag":"Exec","to":"1"}', "malformed: command: missing"],
    ['{"_tag":"Exec","to":"1","command":5}', "malformed: command: expected text on one line"],
    ['{"_tag":"Exec","to":"1","command":""}', "malformed: command: expected text on one line"],
    ['{"_tag":"Exec","to":"1","command":"a\\nEXEC 1 b"}', "malformed: command: expected text on one line"],
    ['{"_tag":"Exec","to":"1","command":"a\\u0000"}', "malformed: command: expected text on one line"],
    ['{"_tag":"Exec","to":"1","command":"\u009b2J"}', "malformed: command: expected text on one line"],
    ['{"_tag":"Exec","to":"1","command":"\\u009b2J"}', "malformed: command: expected text on one line"],
    [
      '{"_tag":"Exec","id":"\u0085","to":"1","command":"x"}',
      "malformed: id: expected an id: 1-64 of A-Z a-z 0-9 . _ -"
    ],
    ['{"_tag":"Name","name":"a\\u0080"}', `malformed: name: ${NAME}`],
    ['{"_tag":"Ping","text":"\\u009f"}', "malformed: text: expected text on one line"],
    ['{"_tag":"Exec","to":"1","command":"\\ud800"}', "malformed: command: expected text without lone surrogates"],
    [
      '{"_tag":"Exec","to":"1","command":"x","timeout":0}',
      `malformed: timeout: expected a whole number from 1 to ${MAX}`
    ],
    [
      '{"_tag":"Exec","to":"1","command":"x","timeout":"5"}',
      `malformed: timeout: expected a whole number from 1 to ${MAX}`
    ],
    ['{"_tag":"Exec","id":7,"to":"1","command":"x"}', "malformed: id: expected an id: 1-64 of A-Z a-z 0-9 . _ -"],
    ['{"_tag":"Name","name":7}', `malformed: name: ${NAME}`],
    ['{"_tag":"Name","name":null}', `malformed: name: ${NAME}`],
    ['{"_tag":"Join","group":1}', "malformed: group: expected a group: 1-64 of A-Z a-z 0-9 . _ -"],
    ['{"_tag":"Ping","text":1}', "malformed: text: expected text on one line"],
    ['{"_tag":"Output","id":"1","text":1}', "malformed: text: expected text"],
    ['{"_tag":"Result","id":"1","status":"0"}', `malformed: status: ${STATUS}`],
    ['{"_tag":"Result","id":"1","status":256}', `malformed: status: ${STATUS}`],
    ['{"_tag":"Result","id":"1","status":0,"truncated":1}', "malformed: truncated: expected true or false"],
    ['{"_tag":"Hello","protocol":"1"}', `malformed: protocol: expected a whole number from 0 to ${MAX}`],
    [
      '{"_tag":"Hello","protocol":1,"heartbeat":99}',
      "malformed: heartbeat: expected a whole number from 100 to 3600000"
    ],
    ['{"_tag":"Whois","who":"bob"}', "malformed: who: expected @name or @m7"],
    ['{"_tag":"Whois","who":3}', "malformed: who: expected @name or @m7"]
  ])("rejects %j as %j", (line, answer) => {
    assert.strictEqual(judged(line), answer)
  })

  it.each([
    ['{"_tag":"Exec","to":3,"command":"x"}', { _tag: "Exec", to: { _tag: "Rank", rank: 3 }, command: "x" }],
    ['{"_tag":"Exec","to":"3","command":"x"}', { _tag: "Exec", to: { _tag: "Rank", rank: 3 }, command: "x" }],
    ['{"_tag":"Explain","to":0}', { _tag: "Explain", to: { _tag: "Rank", rank: 0 } }],
    ['{"_tag":"Explain","to":-0}', { _tag: "Explain", to: { _tag: "Rank", rank: 0 } }],
    ['{"_tag":"Explain","to":3e0}', { _tag: "Explain", to: { _tag: "Rank", rank: 3 } }],
    ['{"_tag":"Whois","who":"@bob"}', { _tag: "Whois", who: "bob" }],
    ['{"_tag":"Whois","who":"@m7"}', { _tag: "Whois", who: "m7" }],
    ['{"_tag":"Ping","text":"\u00a0"}', { _tag: "Ping", text: "\u00a0" }],
    ['{"_tag":"Output","id":"1","text":"\u007f\u009b"}', { _tag: "Output", id: "1", text: "\u007f\u009b" }]
  ])("reads %s", (line, message) => {
    assert.deepStrictEqual<unknown>(judged(line), message)
  })

  it("writes a target as a string", () => {
    const line = jsonCodec.encodeClient({ _tag: "Explain", to: { _tag: "Rank", rank: 3 } })
    assert.strictEqual(line, '{"_tag":"Explain","to":"3"}')
  })

  it("counts a rank beyond 2^53 as one that nobody has, written as a number or as a string", () => {
    for (const to of ["9007199254740993", "1e300", '"9007199254740993"', `"${"9".repeat(400)}"`]) {
      assert.deepStrictEqual<unknown>(judged(`{"_tag":"Explain","to":${to}}`), {
        _tag: "Explain",
        to: { _tag: "Rank", rank: Number.MAX_SAFE_INTEGER }
      })
    }
  })

  it("rejects any other number beyond 2^53, and never rounds one that it accepts", () => {
    const epoch = (number: string) => judged(`{"_tag":"Exec","to":"1","command":"x","epoch":${number}}`)
    assert.deepInclude(epoch(`${MAX}`), { epoch: MAX })
    for (const number of ["9007199254740992", "9007199254740993", "1e400", "-1", "1.5"]) {
      assert.strictEqual(epoch(number), `malformed: epoch: expected a whole number from 0 to ${MAX}`)
    }
  })

  it("takes the last of several values of one key", () => {
    assert.deepStrictEqual<unknown>(judged('{"_tag":"Quit","_tag":"Ping"}'), { _tag: "Ping" })
    assert.deepStrictEqual<unknown>(judged('{"_tag":"Name","name":"a","name":"b"}'), { _tag: "Name", name: "b" })
    assert.strictEqual(judged('{"_tag":"Name","name":"a","name":1}'), `malformed: name: ${NAME}`)
  })

  it("treats __proto__ as the unknown key that it is", () => {
    assert.strictEqual(judged('{"__proto__":{"_tag":"Ping"}}'), NO_TAG)
    assert.strictEqual(judged('{"_tag":"Ping","__proto__":{"text":"x"}}'), "malformed: __proto__: no such field")
    assert.strictEqual(judged('{"_tag":"__proto__"}'), "unknown command: try HELP")
    assert.strictEqual(({} as { text?: unknown }).text, undefined)
  })

  it("keeps the case of names: Bob and bob are two", () => {
    assert.deepStrictEqual<unknown>(judged('{"_tag":"Name","name":"Bob"}'), { _tag: "Name", name: "Bob" })
    assert.deepStrictEqual<unknown>(judged('{"_tag":"Whois","who":"@bob"}'), { _tag: "Whois", who: "bob" })
  })

  it("names the tracked command that a rejected line would have been", () => {
    const said = jsonCodec.decodeClient('{"_tag":"Exec","id":"a1","to":"x","command":"x"}')
    assert.strictEqual(said._tag === "Failure" ? said.failure.id : undefined, "a1")
  })
})
