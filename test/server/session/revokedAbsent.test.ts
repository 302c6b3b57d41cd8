/** Tokens that are revoked together, and the causes that the log has for slow consumers. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import type { AccessPolicy, Grant } from "../../../src/server/admission/Access.ts"
import { Network, passes, say, server, settled } from "../../support/memoryServer.ts"

/** A policy whose tokens are plain words, and a function that revokes some of them. */
const policy = () => {
  const grants = new Map(["a", "b", "c", "d"].map((token): [string, Grant] => [token, { issue: true, execute: true }]))
  let changed: (holds: (grant: Grant) => boolean) => void = () => {}
  const access: AccessPolicy = {
    authenticate: (token) => Effect.succeed(grants.get(token)),
    observe: (observer) =>
      Effect.sync(() => {
        changed = observer
      })
  }
  const revoke = (...tokens: ReadonlyArray<string>) => {
    const revoked = tokens.map((token) => grants.get(token))
    changed((grant) => !revoked.includes(grant))
  }
  return { access, revoke }
}

describe("members whose tokens are revoked together", () => {
  it.effect("leave without being promoted first, present or absent", () => {
    const { access, revoke } = policy()
    const logged: Array<string> = []
    return Effect.gen(function* () {
      const { connect } = yield* Network
      const clients = []
      for (const token of ["a", "b", "c", "d"]) {
        const client = yield* connect
        yield* say(client, `{"_tag":"Hello","protocol":1,"token":"${token}"}`)
        clients.push(client)
      }
      const [a, b, c, d] = clients
      // The second one is absent.
      b!.reset()
      yield* settled
      for (const client of clients) client.lines()
      logged.length = 0
      revoke("a", "b", "c")
      yield* settled
      assert.deepStrictEqual(a!.lines(), ['{"_tag":"Bye","reason":"kicked"}'])
      assert.deepStrictEqual(c!.lines(), ['{"_tag":"Bye","reason":"kicked"}'])
      yield* passes("1 second")
      const ranks = d!.lines().map((line) => JSON.parse(line))
      assert.deepInclude(ranks.at(-1), { _tag: "Rank", rank: 0, size: 1 })
      const leaders = logged.filter((line) => line.startsWith("leader changed"))
      assert.strictEqual(leaders.length, 1)
      assert.include(leaders[0], "member=m4")
      assert.strictEqual(logged.filter((line) => line.startsWith("left ")).length, 3)
    }).pipe(server({ grace: Duration.seconds(30) }, logged, access))
  })
})
