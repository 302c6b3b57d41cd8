/** A client's connection, with servers in memory that misbehave. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import { admitted, admittedTo, clientOver, standingOf, welcoming } from "../support/memoryClient.ts"
import { memoryFake, nowhere } from "../support/memoryFake.ts"
import { passUntil } from "../support/until.ts"

const rank = (rank: number, epoch: number) => ({ _tag: "Rank", rank, size: 2, epoch, member: "m1" }) as const

describe("Connection", () => {
  it.effect("asks for what the app configures, and for a heartbeat of 5 seconds", () =>
    Effect.gen(function* () {
      const server = welcoming()
      yield* admittedTo(server, { name: "one", group: "jobs", token: "t" })
      assert.deepStrictEqual(server.latest().said, [
        { _tag: "Hello", protocol: 1, name: "one", group: "jobs", token: "t", heartbeat: 5000 }
      ])
    })
  )

  it.effect("fails at once with a name, a group or a heartbeat that no server accepts", () =>
    Effect.gen(function* () {
      for (const options of [
        { name: "my worker" },
        { name: "m1" },
        { group: "a b" },
        { heartbeat: 0 },
        { heartbeat: 99 },
        { heartbeat: 3_600_001 }
      ]) {
        const { reason } = yield* Effect.flip(clientOver(nowhere, options))
        assert.strictEqual(reason, "malformed")
      }
    })
  )

  it.effect("stands where Welcome says, whether Rank and Named come before or after it", () =>
    Effect.gen(function* () {
      const named = { _tag: "Named", rank: 1, member: "m1", name: "given" } as const
      const server = memoryFake((_, connection) => {
        if (server.connections.length === 1) {
          connection.say(rank(0, 3), named)
          connection.welcome({ rank: 1, epoch: 7 })
        } else {
          connection.welcome({ rank: 1, epoch: 8 })
          connection.say(rank(1, 8), named)
        }
      })
      const client = yield* admittedTo(server)
      const standing = { member: "m1", group: "default", rank: 1, size: 2 }
      assert.deepStrictEqual(standingOf(client), { ...standing, epoch: 7 })
      server.latest().cut()
      yield* passUntil(() => standingOf(client)?.epoch === 8)
      assert.deepStrictEqual(standingOf(client), { ...standing, epoch: 8 })
      // The server named it: it asks for that name from then on.
      server.latest().cut()
      yield* passUntil(() => server.connections.length === 3)
      yield* admitted(client)
      assert.notProperty(server.connections[1]?.said[0], "name")
      assert.deepInclude(server.latest().said[0], { _tag: "Hello", name: "given" })
    })
  )

  it.effect("answers pings, and ignores lines that it cannot decode", () =>
    Effect.gen(function* () {
      const server = memoryFake((said, connection) => {
        if (said._tag !== "Hello") return
        connection.write('{"_tag":"Nonsense"}\n{\n\u0000\u00ff\n{"_tag":"Rank","rank":-1}\nRANK 0 1 5 m1\nGARBAGE\n')
        connection.welcome()
        connection.say({ _tag: "Ping" })
      })
      yield* admittedTo(server)
      yield* passUntil(() => server.latest().count("Pong") === 1)
      assert.strictEqual(server.connections.length, 1)
    })
  )

  it.effect("gives up a server that does not welcome it, after 5 seconds", () =>
    Effect.gen(function* () {
      const server = memoryFake()
      yield* clientOver(server.socket)
      yield* TestClock.adjust("4999 millis")
      assert.isFalse(server.latest().isClosed)
      yield* TestClock.adjust("1 millis")
      assert.isTrue(server.latest().isClosed)
      yield* passUntil(() => server.connections.length === 2, "5 seconds")
    })
  )

  it.effect("gives up a server that falls silent, two heartbeats after the last ping that it answered", () =>
    Effect.gen(function* () {
      const server = welcoming((said, connection) => {
        const { text } = said
        if (said._tag === "Ping" && connection.count("Ping") === 1) connection.say({ _tag: "Pong", text: `${text}` })
      })
      const client = yield* admittedTo(server)
      const asked = yield* Effect.forkChild(client.exec("1", "x"))
      // The first ping leaves after three quarters of a heartbeat.
      yield* passUntil(() => server.latest().count("Ping") === 1)
      yield* TestClock.adjust("9900 millis")
      assert.isDefined(standingOf(client))
      yield* TestClock.adjust("100 millis")
      assert.isUndefined(standingOf(client))
      assert.isAbove(server.latest().count("Ping"), 2)
      // It led: it has half a heartbeat to stop before the server promotes the next.
      yield* TestClock.adjust("2400 millis")
      assert.isFalse(server.latest().isClosed)
      yield* TestClock.adjust("100 millis")
      assert.isTrue(server.connections[0]?.isClosed)
      assert.deepStrictEqual(yield* Fiber.join(asked), { status: "lost" })
      yield* passUntil(() => server.connections.length === 2)
    })
  )

  it.effect("keeps the lead if the server answers late, but within a heartbeat", () =>
    Effect.gen(function* () {
      const fork = Effect.runForkWith(yield* Effect.context<never>())
      const server = welcoming((said, connection) => {
        if (said._tag !== "Ping") return
        fork(
          Effect.delay(
            Effect.sync(() => connection.say({ _tag: "Pong", text: `${said.text}` })),
            "4500 millis"
          )
        )
      })
      const client = yield* admittedTo(server)
      for (let second = 0; second < 600; second++) {
        yield* TestClock.adjust("1 second")
        assert.isDefined(standingOf(client))
      }
      assert.strictEqual(server.connections.length, 1)
    })
  )

  it.effect("counts its lease from when it sent a ping, not from the answer", () =>
    Effect.gen(function* () {
      let answer = () => {}
      const server = welcoming((said, connection) => {
        if (said._tag !== "Ping" || connection.count("Ping") > 1) return
        answer = () => connection.say({ _tag: "Pong", text: `${said.text}` })
      })
      const client = yield* admittedTo(server)
      yield* passUntil(() => server.latest().count("Ping") === 1)
      yield* TestClock.adjust("5 seconds")
      answer()
      yield* TestClock.adjust("4900 millis")
      assert.isDefined(standingOf(client))
      yield* TestClock.adjust("100 millis")
      assert.isUndefined(standingOf(client))
    })
  )

  it.effect("connects less and less often to a server that welcomes it and closes", () =>
    Effect.gen(function* () {
      const server = memoryFake((_, connection) => {
        connection.welcome()
        connection.cut()
      })
      yield* clientOver(server.socket)
      yield* TestClock.adjust("2 seconds")
      assert.isBelow(server.connections.length, 8)
      yield* TestClock.adjust("1 minute")
      assert.isBelow(server.connections.length, 8 + 60 / 2.5)
    })
  )

  it.effect("tells why the server refuses it, until the server admits it", () =>
    Effect.gen(function* () {
      let isFull = true
      const server = memoryFake((_, connection) => {
        if (!isFull) return connection.welcome()
        connection.write("ERROR - server full\n")
        connection.cut()
      })
      const client = yield* clientOver(server.socket)
      yield* passUntil(() => SubscriptionRef.getUnsafe(client.refused)?.reason === "server full")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(SubscriptionRef.getUnsafe(client.refused)?.reason, "server full")
      isFull = false
      yield* admitted(client)
      assert.isUndefined(SubscriptionRef.getUnsafe(client.refused))
    })
  )

  it.effect("says Quit when it leaves by itself, if the server would keep its rank", () =>
    Effect.gen(function* () {
      const server = memoryFake((said, connection) => {
        if (said._tag === "Hello") connection.welcome({ resume: "r" })
      })
      yield* Effect.scoped(admittedTo(server))
      assert.strictEqual(server.latest().count("Quit"), 1)
      const plain = welcoming()
      yield* Effect.scoped(admittedTo(plain))
      assert.strictEqual(plain.latest().count("Quit"), 0)
    })
  )
})
