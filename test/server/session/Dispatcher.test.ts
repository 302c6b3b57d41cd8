/** The guards: what each verb needs, by the table of verbs. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { ClientMessage } from "../../../src/protocol/Messages.ts"
import { textCodec } from "../../../src/protocol/text/TextCodec.ts"
import type { AccessPolicy, Grant } from "../../../src/server/admission/Access.ts"
import { verbs } from "../../../src/server/session/verbs.ts"
import { Network, say, server, settled } from "../../support/memoryServer.ts"

type Tag = ClientMessage["_tag"]

/** A message for each verb. */
const messages: { readonly [tag in Tag]: ClientMessage & { readonly _tag: tag } } = {
  Auth: { _tag: "Auth", token: "all" },
  Cancel: { _tag: "Cancel", id: "x" },
  Exec: { _tag: "Exec", to: { _tag: "Member", who: "nobody" }, command: "x" },
  Explain: { _tag: "Explain", to: { _tag: "Everyone" } },
  Hello: { _tag: "Hello", protocol: 1 },
  Help: { _tag: "Help" },
  Join: { _tag: "Join", group: "jobs" },
  Name: { _tag: "Name", name: "ann" },
  Output: { _tag: "Output", id: "1", text: "x" },
  Ping: { _tag: "Ping" },
  Pong: { _tag: "Pong" },
  Quit: { _tag: "Quit" },
  Ranks: { _tag: "Ranks" },
  Result: { _tag: "Result", id: "1", status: "denied" },
  Unwatch: { _tag: "Unwatch" },
  Watch: { _tag: "Watch" },
  Whois: { _tag: "Whois", who: "m1" },
  Yield: { _tag: "Yield" }
}

const tags = Object.keys(messages) as ReadonlyArray<Tag>

const needing = (...needs: ReadonlyArray<string>) => tags.filter((tag) => needs.includes(verbs[tag].needs))

/** The line of the verb, in JSON where text has none. */
const lineOf = (tag: Tag): string =>
  tag === "Hello" ? JSON.stringify(messages[tag]) : textCodec.encodeClient(messages[tag])

const grants = new Map<string, Grant>([
  ["all", { issue: true, execute: true }],
  ["executes", { issue: false, execute: true }]
])

/** Tokens that are words. */
const access: AccessPolicy = {
  authenticate: (token) => Effect.succeed(grants.get(token)),
  observe: () => Effect.void
}

/** What a client hears that has said these lines and nothing else; and whether it is still there. */
const answerTo = Effect.fnUntraced(function* (...lines: ReadonlyArray<string>) {
  const client = yield* (yield* Network).connect
  client.lines()
  const heard = yield* say(client, ...lines)
  client.reset()
  yield* settled
  return heard
})

/** As a client hears it, in either encoding. */
const isError = (line: string | undefined, detail: string) =>
  line === `ERROR - not authorized: ${detail}` ||
  line === JSON.stringify({ _tag: "Error", reason: "not authorized", detail })

describe("a verb", () => {
  it.effect.each(needing("token", "seat"))(
    "that needs a token or a seat is rejected before there is a token: %s",
    (tag) =>
      Effect.gen(function* () {
        const [answer, ...others] = yield* answerTo(lineOf(tag))
        assert.isTrue(isError(answer, "say AUTH <token> first"), answer)
        assert.deepStrictEqual(others, [])
      }).pipe(server({}, [], access))
  )

  it.effect.each(needing("seat"))("that needs a seat is rejected before there is one: %s", (tag) =>
    Effect.gen(function* () {
      const [answer, ...others] = yield* answerTo(lineOf(tag))
      assert.isTrue(isError(answer, "say JOIN or Hello first"), answer)
      assert.deepStrictEqual(others, [])
    }).pipe(server({ admission: "hello" }))
  )

  it.effect.each(needing("nothing", "token"))("that needs no seat is not rejected for having none: %s", (tag) =>
    Effect.gen(function* () {
      const heard = yield* answerTo(lineOf(tag))
      assert.isFalse(
        heard.some((line) => line.includes("JOIN or Hello")),
        heard.join()
      )
    }).pipe(server({ admission: "hello" }))
  )

  it.effect.each(tags.filter((tag) => verbs[tag].issues === true || verbs[tag].changesOrder === true))(
    "that issues a command or changes the order counts in the rate: %s",
    (tag) =>
      Effect.gen(function* () {
        // The first Hello is free.
        const heard = yield* answerTo(lineOf("Hello"), lineOf(tag), lineOf(tag))
        assert.include(heard.at(-1), "rate limited")
        assert.strictEqual(heard.filter((line) => line.includes("rate limited")).length, 1)
      }).pipe(server({ rate: 1 }))
  )

  it.effect.each(tags.filter((tag) => verbs[tag].issues !== true && verbs[tag].changesOrder !== true))(
    "that does neither does not count in the rate: %s",
    (tag) =>
      Effect.gen(function* () {
        const heard = yield* answerTo(...Array.from({ length: 5 }, () => lineOf(tag)))
        assert.isFalse(heard.some((line) => line.includes("rate limited")))
      }).pipe(server({ rate: 1 }))
  )

  it.effect("that issues a command needs a token that allows it, and does not count in the rate without", () =>
    Effect.gen(function* () {
      const line = lineOf("Exec")
      const denied = "ERROR 0 not authorized: your token may not issue commands"
      const heard = yield* answerTo("AUTH executes", line, line, line)
      assert.deepStrictEqual(heard.slice(1), [denied, denied, denied])
      assert.strictEqual(heard.length, 4)
    }).pipe(server({ rate: 1 }, [], access))
  )
})

describe("a rejection", () => {
  it.effect("shows a client without a token nothing but that, whatever is wrong with its line", () =>
    Effect.gen(function* () {
      for (const line of ["nonsense", "EXEC", "EXEC 1", "EXEC#. .", '{"_tag":"Exec"}', "{", "AUTH", "AUTH a b"]) {
        const [answer, ...others] = yield* answerTo(line)
        assert.isTrue(isError(answer, "say AUTH <token> first"), `${line}: ${answer}`)
        assert.deepStrictEqual(others, [])
      }
    }).pipe(server({}, [], access))
  )

  it.effect("carries the id of the tracked command, before there is a token, a seat, or a right", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* answerTo("EXEC#x 1 x"), ["ERROR#x - not authorized: say AUTH <token> first"])
      const executes = yield* answerTo("AUTH executes", "EXEC#x 1 x", "EXEC#y @m1 x")
      assert.deepStrictEqual(executes.slice(1), [
        "ERROR#x 0 not authorized: your token may not issue commands",
        "ERROR#y 0 not authorized: your token may not issue commands"
      ])
    }).pipe(server({}, [], access))
  )

  it.effect("carries the id of the tracked command, before there is a seat", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* answerTo("EXEC#x 1 x"), ["ERROR#x - not authorized: say JOIN or Hello first"])
    }).pipe(server({ admission: "hello" }))
  )

  it.effect("of a Hello for its protocol leaves the client as it is, and was its free one", () =>
    Effect.gen(function* () {
      const heard = yield* answerTo('{"_tag":"Hello","protocol":2}', lineOf("Hello"), lineOf("Hello"))
      assert.deepStrictEqual(
        heard.map((line) => JSON.parse(line)).map(({ _tag, reason }) => [_tag, reason]),
        [
          ["Error", "malformed"],
          ["Welcome", undefined],
          ["Error", "rate limited"]
        ]
      )
    }).pipe(server({ rate: 1 }))
  )
})
