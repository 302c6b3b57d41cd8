/** What the server does wrong: each of these tests fails until that is repaired, and then belongs beside its subject. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Network, say, server } from "../support/memoryServer.ts"

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
