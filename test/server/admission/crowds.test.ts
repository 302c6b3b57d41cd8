/** Crowds of connections that the server refuses: they do not delay or disturb its members. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { AccessPolicy } from "../../../src/server/admission/Access.ts"
import { client, serverLayer } from "../../support/wire.ts"

const access: AccessPolicy = {
  authenticate: (token) => Effect.succeed(token === "all" ? { issue: true, execute: true } : undefined),
  observe: () => Effect.void
}

describe("on real sockets", () => {
  it.live("500 idle unauthenticated clients keep no client out, and are disconnected after two seconds", () =>
    Effect.gen(function* () {
      const idle = yield* Effect.all(
        Array.from({ length: 500 }, () => client),
        { concurrency: 50 }
      )
      const start = performance.now()
      const member = yield* client
      member.send("AUTH all")
      yield* member.until((line) => line.startsWith("RANK 0 1 "))
      assert.isBelow(performance.now() - start, 1000)
      for (const { untilClosed } of idle) yield* untilClosed
      assert.isBelow(performance.now() - start, 6000)
      // The members got no line about them, and the next client gets its rank at once.
      const next = yield* client
      next.send("AUTH all")
      yield* next.until((line) => line.startsWith("RANK 1 2 "))
      assert.deepStrictEqual(member.heard, [])
    }).pipe(Effect.scoped, Effect.provide(serverLayer({}, undefined, access)))
  )

  it.live("a flood of refused connections does not disturb members", () =>
    Effect.gen(function* () {
      const member = yield* client
      yield* member.until((line) => line.startsWith("RANK 0"))
      const refused = yield* Effect.all(
        Array.from({ length: 300 }, () => client),
        { concurrency: 100 }
      )
      const heard = yield* Effect.all(
        refused.map(({ untilClosed }) => untilClosed),
        { concurrency: "unbounded" }
      )
      const answered = heard.filter(([line]) => line === "ERROR - server full: too many connections")
      assert.isAtLeast(answered.length, 64)
      assert.isTrue(heard.every((lines) => lines.length <= 1))
      member.send("PING")
      assert.deepStrictEqual(yield* member.until(() => true), ["PONG"])
    }).pipe(Effect.scoped, Effect.provide(serverLayer({ maxConnections: 1 })))
  )
})
