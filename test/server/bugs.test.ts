/** What the server does wrong: each of these tests fails until that is repaired, and then belongs beside its subject. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import type { MemorySocket } from "../support/MemorySocket.ts"
import { Network, passes, say, server, settled } from "../support/memoryServer.ts"

const hello = (client: MemorySocket, fields: object = {}) =>
  Effect.map(say(client, JSON.stringify({ _tag: "Hello", protocol: 1, ...fields })), (lines) =>
    JSON.parse(lines[0] ?? "{}")
  )

const leadersIn = (logged: ReadonlyArray<string>) =>
  logged.flatMap((line) => /^leader changed (member=\w+)/.exec(line)?.[1] ?? [])

describe("the leader of a group", () => {
  it.effect("is logged where a member comes back to rank 0, which became free while its connection ended", () => {
    const logged: Array<string> = []
    return Effect.gen(function* () {
      const { connectFrom } = yield* Network
      // One address has as many absent members as it may have: the next one from there leaves for good.
      const absent = yield* connectFrom("10.0.0.1:1")
      yield* hello(absent, { group: "other" })
      absent.reset()
      yield* settled
      const leader = yield* connectFrom("10.0.0.1:2")
      yield* hello(leader, { heartbeat: 1000 })
      const next = yield* connectFrom("10.0.0.2:1")
      const { member, resume } = yield* hello(next, { heartbeat: 1000 })
      const last = yield* connectFrom("10.0.0.3:1")
      yield* say(last, "JOIN default")
      logged.length = 0
      // Both are found silent by the same sweep.
      yield* passes("4 seconds")
      const back = yield* connectFrom("10.0.0.2:2")
      assert.deepInclude(yield* hello(back, { resume }), { _tag: "Welcome", member, rank: 0 })
      assert.strictEqual((yield* say(last, "EXPLAIN @m3")).at(-1), "ERROR 1 rank too high")
      assert.deepStrictEqual(leadersIn(logged), [`member=${member}`])
    }).pipe(server({ admission: "hello", grace: Duration.seconds(60), maxConnectionsPerAddress: 1 }, logged))
  })
})

describe("the log", () => {
  it.effect("cannot be flooded by clients that come and go", () => {
    const logged: Array<string> = []
    return Effect.gen(function* () {
      const { connect } = yield* Network
      for (let i = 0; i < 100; i++) yield* say(yield* connect, "QUIT")
      assert.isAtMost(logged.length, 30)
    }).pipe(server({}, logged))
  })
})
