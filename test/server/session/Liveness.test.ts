/** Heartbeats on the server's side, on a test clock. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { connect, passes, say, server, settled } from "../../support/memoryServer.ts"

const hello = (heartbeat?: number) =>
  JSON.stringify({ _tag: "Hello", protocol: 1, ...(heartbeat === undefined ? {} : { heartbeat }) })

const heartbeatOf = (lines: ReadonlyArray<string>): number => JSON.parse(lines.at(-1)!).heartbeat

const PING = '{"_tag":"Ping"}'

describe("a client with a heartbeat", () => {
  it.effect(
    "gets a PING after one heartbeat of silence, and is disconnected after two and a half; the next is promoted",
    () =>
      Effect.gen(function* () {
        const [a, b] = yield* connect(2)
        assert.strictEqual(heartbeatOf(yield* say(a, hello(5000))), 5000)
        yield* passes(4999)
        assert.deepStrictEqual(a.lines(), [])
        yield* passes(251)
        assert.deepStrictEqual(a.lines(), [PING])
        yield* passes(7249)
        assert.deepStrictEqual(a.lines(), [PING])
        assert.deepStrictEqual(b.lines(), [])
        yield* passes(251)
        assert.deepStrictEqual(a.lines(), ['{"_tag":"Bye","reason":"timed out"}'])
        assert.match(b.lines().join(), /^RANK 0 1 \d+ m2$/)
      }).pipe(server())
  )

  it.effect("stays while it sends anything", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      yield* say(b, "WATCH")
      yield* say(a, hello(1000))
      for (let i = 0; i < 10; i++) {
        yield* passes(900)
        // Half a line is enough.
        a.send(i % 2 === 0 ? "PI" : "NG\n")
        yield* settled
      }
      assert.isFalse(a.lines().includes(PING))
      for (let i = 0; i < 10; i++) {
        yield* passes(1250)
        a.send("\n")
        yield* settled
        assert.deepStrictEqual(a.lines(), [PING])
      }
      yield* passes(2750)
      assert.deepStrictEqual(b.lines().slice(-2)[0], "LEFT 0 m1 timed out")
    }).pipe(server())
  )

  it.effect("is checked four times per heartbeat, even if those of others are longer", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      yield* say(a, hello(60_000))
      yield* passes(1000)
      yield* say(b, hello(110))
      // The present tick, two and a half heartbeats, and one more tick.
      yield* passes(250 + 275 + 28)
      assert.deepStrictEqual(b.lines().at(-1), '{"_tag":"Bye","reason":"timed out"}')
      assert.deepStrictEqual(yield* say(a, "PING"), ['{"_tag":"Pong"}'])
    }).pipe(server())
  )

  it.live("is not timed out for bytes that came while the server was frozen", () =>
    Effect.gen(function* () {
      const [a] = yield* connect(1)
      yield* say(a, hello(200))
      yield* Effect.sleep("100 millis")
      for (const end = performance.now() + 750; performance.now() < end; );
      yield* Effect.sleep("1 millis")
      // After the freeze, the server's timers run before it reads the client's bytes.
      a.send("PING\n")
      yield* Effect.sleep("150 millis")
      assert.isFalse(a.ended)
      yield* Effect.sleep("600 millis")
      assert.isTrue(a.ended)
    }).pipe(server())
  )

  it.effect("is not timed out while it has not read its answers", () =>
    Effect.gen(function* () {
      const clients = yield* connect(150)
      const a = clients[0]!
      yield* say(a, hello(1000))
      a.reading = false
      a.send("RANKS\nRANKS\nRANKS\nRANKS\n".repeat(5))
      yield* settled
      for (let i = 0; i < 3; i++) {
        yield* passes(9000)
        a.resume()
        a.reading = false
        yield* settled
      }
      assert.isFalse(a.lines().some((line) => line.includes("Bye")))
      assert.isFalse(a.ended)
    }).pipe(server())
  )

  it.effect("has the heartbeat of the last Hello that asked for one; without one it is never timed out", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      assert.strictEqual(heartbeatOf(yield* say(a, hello())), 0)
      assert.strictEqual(heartbeatOf(yield* say(a, hello(200))), 200)
      assert.strictEqual(heartbeatOf(yield* say(a, hello(3000))), 3000)
      assert.strictEqual(heartbeatOf(yield* say(a, hello())), 3000)
      yield* passes(2999)
      assert.deepStrictEqual(a.lines(), [])
      yield* passes(3_600_000)
      assert.deepStrictEqual(a.lines().at(-1), '{"_tag":"Bye","reason":"timed out"}')
      assert.match((yield* say(b, "RANKS")).join(), /^RANK 0 1 \d+ m2,MEMBER 0 m2 - unknown,END 1 \d+$/)
    }).pipe(server())
  )
})
