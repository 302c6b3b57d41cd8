/** The epoch that a client says in its `Hello`, to servers that know the field and to older ones. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import { admitted, admittedTo, clientOver, standingOf, welcoming } from "../support/memoryClient.ts"
import { type MemoryConnection, type MemoryFake, memoryFake } from "../support/memoryFake.ts"
import { passUntil } from "../support/until.ts"

/** The `Hello`s of the latest connection. */
const hellos = (server: MemoryFake) => server.latest().said.filter(({ _tag }) => _tag === "Hello")

/** Cuts the connection, and waits for the next one. */
const reconnected = (server: MemoryFake) => {
  const { length } = server.connections
  server.latest().cut()
  return passUntil(() => server.connections.length > length && hellos(server).length > 0)
}

/** A server that rejects each message that has a field which it does not know. */
const older = (reject: (connection: MemoryConnection) => void): MemoryFake => {
  const server = memoryFake((said, connection) => {
    if (said._tag !== "Hello") return
    if ("epoch" in said) reject(connection)
    else connection.welcome({ epoch: 1000 + server.connections.length })
  })
  return server
}

describe("the epoch of a client", () => {
  it.effect("is the largest of its group, from whatever message", () =>
    Effect.gen(function* () {
      const server = welcoming()
      yield* admittedTo(server, { group: "jobs" })
      assert.notProperty(hellos(server)[0], "epoch")
      const told = Effect.fnUntraced(function* (epoch: number) {
        yield* reconnected(server)
        assert.strictEqual(hellos(server)[0]?.epoch, epoch)
      })
      yield* told(7)
      for (const [index, message] of (
        [
          { _tag: "Rank", rank: 0, size: 2, epoch: 8, member: "m1" },
          { _tag: "Exec", from: 0, command: "x", epoch: 9 },
          { _tag: "Roster", size: 0, epoch: 10, members: [] }
        ] as const
      ).entries()) {
        server.latest().say(message)
        yield* TestClock.adjust("10 millis")
        yield* told(8 + index)
      }
      server.latest().say({ _tag: "Rank", rank: 1, size: 2, epoch: 5, member: "m1" })
      yield* told(10)
    })
  )
})

describe("a server that does not know the epoch in a Hello", () => {
  it.effect.each([
    { reason: "malformed", detail: "epoch: no such field" },
    { reason: "malformed", detail: 'Expected no excess property at ["epoch"]' },
    { reason: "malformed" },
    { reason: "not authorized", detail: "say AUTH <token> first" }
  ] as const)("hears Hello again without it, on the same connection (%o)", (error) =>
    Effect.gen(function* () {
      const server = older((connection) => connection.say({ _tag: "Error", ...error }))
      const client = yield* admittedTo(server, { name: "a", token: "t" })
      for (let connections = 2; connections <= 3; connections++) {
        server.latest().cut()
        yield* passUntil(() => standingOf(client)?.epoch === 1000 + connections)
        assert.strictEqual(server.connections.length, connections)
        const plain = { _tag: "Hello", protocol: 1, name: "a", token: "t", group: "default", heartbeat: 5000 }
        assert.deepStrictEqual(hellos(server), [{ ...plain, epoch: 999 + connections }, plain])
        assert.isUndefined(SubscriptionRef.getUnsafe(client.refused))
      }
    })
  )

  it.effect("hears Hello without it on the next connection if it closes this one", () =>
    Effect.gen(function* () {
      const server = older((connection) => {
        connection.say({ _tag: "Error", reason: "malformed" })
        connection.cut()
      })
      const client = yield* admittedTo(server)
      server.latest().cut()
      yield* passUntil(() => standingOf(client)?.epoch === 1003)
      assert.deepStrictEqual(
        hellos(server).map((said) => "epoch" in said),
        [false]
      )
    })
  )

  it.effect("that rejects the simpler Hello, too, is not asked a third time", () =>
    Effect.gen(function* () {
      let isStrict = false
      const server = memoryFake((said, connection) => {
        if (said._tag !== "Hello") return
        if (isStrict) connection.say({ _tag: "Error", reason: "malformed", detail: "name: expected another" })
        else connection.welcome()
      })
      const client = yield* clientOver(server.socket)
      yield* admitted(client)
      isStrict = true
      yield* reconnected(server)
      const connection = server.latest()
      yield* passUntil(() => SubscriptionRef.getUnsafe(client.refused) !== undefined)
      assert.strictEqual(connection.count("Hello"), 2)
      assert.strictEqual(SubscriptionRef.getUnsafe(client.refused)?.message, "malformed: name: expected another")
    })
  )
})
