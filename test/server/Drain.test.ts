/** A server that stops while commands are open. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import type { MemorySocket } from "../support/MemorySocket.ts"
import { connect, Network, passes, say, server, settled } from "../support/memoryServer.ts"

const stopping = Effect.gen(function* () {
  const stop = yield* Effect.forkChild((yield* Network).stop)
  yield* settled
  return stop
})

/** Asserts that the last line of each client is `BYE shutting down`, and ends the clients' sides. */
const dismissed = (...clients: ReadonlyArray<MemorySocket>) =>
  Effect.map(settled, () => {
    const last = clients.map((client) => client.lines().at(-1))
    for (const client of clients) client.close()
    return last.every((line) => line === "BYE shutting down")
  })

describe("a server that stops", () => {
  it.effect("waits for open commands, and takes no new ones", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const [a, b, c] = yield* connect(3)
      yield* say(a, "EXEC#1 1 x", "EXEC#2 2 y")
      assert.isTrue(network.ready())
      const stop = yield* stopping
      assert.isFalse(network.ready())
      assert.deepStrictEqual(yield* say(a, "EXEC 1 z", "EXEC * z", "EXEC 1-2 z", "EXEC @m2 z", "EXEC#3 1 z", "PING"), [
        "ERROR 0 shutting down",
        "ERROR 0 shutting down",
        "ERROR 0 shutting down",
        "ERROR 0 shutting down",
        "ERROR#3 0 shutting down",
        "PONG"
      ])
      const late = yield* network.connect
      assert.deepStrictEqual(late.lines(), ["ERROR - shutting down"])
      assert.deepStrictEqual(yield* say(b, "RESULT#1 0 done"), ["EXEC#1 0 x"])
      assert.deepStrictEqual(a.lines(), ["RESULT#1 1 0 done"])
      // It still serves its members.
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(yield* say(b, "QUIT"), ["BYE quit"])
      assert.match(c.lines().at(-1)!, /^RANK 1 2 \d+ m3$/)
      assert.isUndefined(stop.pollUnsafe())
      c.send("RESULT#2 0\n")
      assert.isTrue(yield* dismissed(a, c))
      late.close()
      b.close()
      yield* Fiber.join(stop)
    }).pipe(server())
  )

  it.effect("waits for --drain at most, five seconds by default, even if a client is stuck", () =>
    Effect.gen(function* () {
      const [a, b, c] = yield* connect(3)
      b.reading = false
      yield* say(a, ...Array.from({ length: 20 }, () => `EXEC 1 ${"x".repeat(1000)}`), "EXEC#1 1-2 y")
      const stop = yield* stopping
      yield* passes("4999 millis")
      assert.isFalse([...a.lines(), ...c.lines()].some((line) => line.startsWith("BYE")))
      yield* TestClock.adjust("1 millis")
      assert.isTrue(yield* dismissed(a, c))
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(stop)
      assert.isTrue(b.destroyed)
    }).pipe(server())
  )

  it.effect("does not wait if no command is open, or if the target has left", () =>
    Effect.gen(function* () {
      const [a, b, c] = yield* connect(3)
      yield* say(a, "EXEC#1 1 x")
      a.close()
      const stop = yield* stopping
      assert.isUndefined(stop.pollUnsafe())
      b.close()
      assert.isTrue(yield* dismissed(c))
      yield* Fiber.join(stop)
    }).pipe(server())
  )

  it.effect("gives no seat to a client that has none", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const [a, b] = [yield* network.connect, yield* network.connect]
      const unranked = yield* network.connect
      yield* say(a, "JOIN default")
      yield* say(b, "JOIN default")
      yield* say(a, "EXEC#1 1 x")
      const stop = yield* stopping
      assert.deepStrictEqual(yield* say(unranked, "JOIN default"), ["ERROR - shutting down"])
      assert.isTrue(unranked.ended)
      // A client with a seat may still join another group.
      assert.match((yield* say(a, "JOIN other")).join(), /^RANK 0 1 \d+ m1$/)
      assert.match((yield* say(b, "RESULT#1 0")).join(), /^EXEC#1 0 x,RANK 0 1 \d+ m2,BYE shutting down$/)
      assert.isTrue(yield* dismissed(a))
      b.close()
      unranked.close()
      yield* Fiber.join(stop)
    }).pipe(server({ admission: "hello" }))
  )
})
