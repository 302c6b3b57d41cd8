/** What becomes of issued commands on connections that are slow, stuck or cut. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Logger, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import { NodeClient, RankClient } from "../../src/index.ts"
import { fakeServer, welcome } from "../support/fakeServer.ts"
import { admitted, admittedTo, clientOver, welcoming } from "../support/memoryClient.ts"
import { memoryFake, nowhere } from "../support/memoryFake.ts"
import { until } from "../support/until.ts"

const succeeding = () =>
  welcoming((said, connection) => {
    if (said._tag !== "Exec") return
    connection.say({ _tag: "Output", id: said.id!, rank: 1, text: "x" })
    connection.say({ _tag: "Result", id: said.id!, rank: 1, status: 0 })
  })

const long = "x".repeat(60_000)

describe("Issuer", () => {
  it.live("tells lost from undelivered when the connection is cut, and sends nothing twice", () =>
    Effect.gen(function* () {
      const server = yield* fakeServer((said, { say, socket }) => {
        if (said._tag === "Hello") say(welcome())
        if (said.command === "first") socket.pause()
        if (said.command === "cut") socket.resetAndDestroy()
        if (said.command === "after") say({ _tag: "Result", id: said.id!, rank: 1, status: 0 })
      })
      const layer = NodeClient.layer({ host: "127.0.0.1", port: server.port })
      const client = Context.get(yield* Layer.build(layer), RankClient)
      const connected = (times: number) =>
        until(() => server.connections.length === times && SubscriptionRef.getUnsafe(client.standing) !== undefined)
      yield* connected(1)
      assert.deepStrictEqual(yield* client.exec("1", "cut"), { status: "lost" })
      yield* connected(2)
      // More than the buffers of sockets hold: the last ones never leave this process.
      const commands = ["first", ...Array.from({ length: 300 }, () => long), "last"]
      const open = yield* Effect.forkChild(
        Effect.forEach(commands, (command) => client.exec("1", command), { concurrency: "unbounded" })
      )
      const second = server.connections[1]!
      yield* until(() => second.said.some(({ command }) => command === "first"))
      yield* Effect.sleep("200 millis")
      second.socket.destroy()
      const outcomes = yield* Fiber.join(open)
      assert.deepStrictEqual(outcomes[0], { status: "lost" })
      assert.deepStrictEqual(outcomes.at(-1), { status: "undelivered" })
      yield* connected(3)
      assert.deepStrictEqual(yield* client.exec("1", "after"), { rank: 1, status: 0 })
      assert.deepStrictEqual(
        server.connections[2]!.said.map(({ _tag, command }) => command ?? _tag),
        ["Hello", "after"]
      )
    }).pipe(Effect.scoped, Effect.provide(Logger.layer([])))
  )

  it.effect("holds a command until the server first admits the client, for 5 seconds", () =>
    Effect.gen(function* () {
      const server = succeeding()
      const early = yield* Effect.forkChild(
        Effect.flatMap(clientOver(server.socket), (client) => client.exec("1", "x"))
      )
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* Fiber.join(early), { rank: 1, status: 0, output: "x" })
      const nobody = yield* clientOver(nowhere)
      const vain = yield* Effect.forkChild(nobody.exec("1", "x"))
      yield* TestClock.adjust("4999 millis")
      assert.isUndefined(vain.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* Fiber.join(vain), { status: "undelivered" })
    })
  )

  it.effect("does not wait for a connection later: the command is undelivered at once", () =>
    Effect.gen(function* () {
      let isUp = true
      const server = memoryFake((_, connection) => {
        if (isUp) connection.welcome()
      })
      const client = yield* admittedTo(server)
      isUp = false
      server.latest().cut()
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* client.exec("1", "x"), { status: "undelivered" })
      isUp = true
      yield* admitted(client)
    })
  )

  it.effect("lets a caller give up on a server that does not read", () =>
    Effect.gen(function* () {
      const server = welcoming()
      const client = yield* admittedTo(server)
      server.latest().isReading = false
      yield* Effect.forkChild(
        Effect.forEach(
          Array.from({ length: 300 }, () => long),
          (command) => client.exec("1", command),
          { concurrency: "unbounded" }
        )
      )
      const asked = yield* Effect.forkChild(client.exec("1", "x"))
      yield* TestClock.adjust("200 millis")
      assert.isUndefined(asked.pollUnsafe())
      // No time passes: it does not wait for room to send.
      yield* Fiber.interrupt(asked)
    })
  )

  it.effect("is not disturbed by an onOutput that throws", () =>
    Effect.gen(function* () {
      const server = succeeding()
      const client = yield* admittedTo(server)
      const onOutput = () => {
        throw new Error("boom")
      }
      assert.deepStrictEqual(yield* client.exec("1", "x", { onOutput }), { rank: 1, status: 0 })
      assert.strictEqual(server.connections.length, 1)
    })
  )
})
