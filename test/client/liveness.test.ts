/** Who leads when a connection, or a process, is frozen: on real sockets, with a proxy between that stops to pass on. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Logger, SubscriptionRef } from "effect"
import { type ClientOptions, Leader, NodeClient, RankClient } from "../../src/index.ts"
import { fakeServer, welcome } from "../support/fakeServer.ts"
import { rankd, says, shell } from "../support/process.ts"
import { proxy } from "../support/proxy.ts"
import { Port, serverLayer } from "../support/wire.ts"

const quiet = Logger.layer([])

/** Short, for tests; the ticks are a quarter of it. */
const HEARTBEAT = 600

const connect = Effect.fnUntraced(function* (port: number, options: ClientOptions = {}) {
  const layer = NodeClient.layer({ host: "127.0.0.1", port, heartbeat: HEARTBEAT, ...options })
  return Context.get(yield* Layer.build(layer), RankClient)
})

const until = (condition: () => boolean) =>
  Effect.gen(function* () {
    while (!condition()) yield* Effect.sleep("2 millis")
  }).pipe(Effect.timeoutOrElse({ duration: "10 seconds", orElse: () => Effect.die(new Error(`not so: ${condition}`)) }))

const admitted = (client: RankClient["Service"]) =>
  until(() => SubscriptionRef.getUnsafe(client.standing) !== undefined)

/** Leads with it whenever it can, and takes its time to stop; when it began and when it had ended. */
const leading = Effect.fnUntraced(function* (client: RankClient["Service"]) {
  const times = { begun: 0, ended: 0 }
  yield* Leader.whileLeader(() => {
    times.begun = performance.now()
    return Effect.onInterrupt(Effect.never, () =>
      Effect.andThen(
        Effect.sleep("50 millis"),
        Effect.sync(() => {
          times.ended = performance.now()
        })
      )
    )
  }).pipe(Effect.provideService(RankClient, client), Effect.forkScoped)
  return times
})

describe("the lead", { concurrent: true, timeout: 60_000 }, () => {
  it.live.each([["up"], ["down"], ["up", "down"]] as const)(
    "is given up before the next has it, where the connection stalls: %s",
    (directions) =>
      Effect.gen(function* () {
        const port = yield* Port
        const between = yield* proxy(port)
        const a = yield* connect(between.port)
        yield* admitted(a)
        const b = yield* connect(port)
        yield* admitted(b)
        const first = yield* leading(a)
        const next = yield* leading(b)
        yield* until(() => first.begun > 0)
        // Longer than a lease: it is renewed.
        yield* Effect.sleep(3 * HEARTBEAT)
        assert.strictEqual(first.ended, 0)
        const stalled = performance.now()
        between.stall(...directions)
        yield* until(() => next.begun > 0)
        assert.isAbove(first.ended, stalled)
        assert.isAbove(next.begun, first.ended)
        // Two and a half heartbeats, two ticks, and what a loaded machine takes.
        assert.isBelow(next.begun - stalled, 3 * HEARTBEAT + 500)
      }).pipe(Effect.scoped, Effect.provide(serverLayer()), Effect.provide(quiet))
  )

  it.live("is kept though the server is slow to answer, as long as it answers within a heartbeat", () =>
    Effect.gen(function* () {
      const server = yield* fakeServer((said, { say }) => {
        if (said._tag === "Hello") say(welcome())
        if (said._tag === "Ping") setTimeout(() => say({ _tag: "Pong", text: `${said.text}` }), 0.9 * HEARTBEAT)
      })
      const client = yield* connect(server.port)
      yield* admitted(client)
      const times = yield* leading(client)
      yield* Effect.sleep(5 * HEARTBEAT)
      assert.strictEqual(times.ended, 0)
      assert.strictEqual(server.connections.length, 1)
    }).pipe(Effect.scoped, Effect.provide(quiet))
  )

  it.live("counts from when a ping was said, not from when it was answered", () =>
    Effect.gen(function* () {
      let answer = () => {}
      let said = 0
      const server = yield* fakeServer((message, { say }) => {
        if (message._tag === "Hello") say(welcome())
        if (message._tag !== "Ping" || said > 0) return
        said = performance.now()
        answer = () => say({ _tag: "Pong", text: `${message.text}` })
      })
      const client = yield* connect(server.port)
      yield* admitted(client)
      const times = yield* leading(client)
      yield* Effect.sleep(1.8 * HEARTBEAT)
      answer()
      yield* until(() => times.ended > 0)
      assert.isBelow(times.ended - said, 2 * HEARTBEAT + 200)
      assert.isAbove(times.ended - said, 2 * HEARTBEAT)
    }).pipe(Effect.scoped, Effect.provide(quiet))
  )

  it.live("goes to the next within 15 seconds when the process is frozen, which notices at once when it goes on", () =>
    Effect.gen(function* () {
      const server = yield* rankd(["--port", "0", "--log-level", "none"])
      const port = yield* Effect.scoped(Effect.map(server.connect, ({ socket }) => socket.remotePort))
      const join = (name: string) => shell(`exec node --import tsx examples/cron.ts 127.0.0.1 ${port} ${name}`)
      const a = yield* join("a")
      yield* says(a.stdout, /a does the job/)
      const b = yield* join("b")
      yield* Effect.sleep("2 seconds")
      a.child.kill("SIGSTOP")
      const frozen = performance.now()
      yield* says(b.stdout, /b does the job/)
      assert.isBelow(performance.now() - frozen, 15_000)
      const jobs = () => a.stdout().split("\n").length
      const before = jobs()
      a.child.kill("SIGCONT")
      yield* Effect.sleep("3 seconds")
      // Its timers run in the order in which they were due, and one of the job's may be first.
      assert.isAtMost(jobs(), before + 1)
    }).pipe(Effect.scoped)
  )

  it.live("has a heartbeat that a server takes", () =>
    Effect.gen(function* () {
      for (const heartbeat of [0, 99, 3_600_001]) {
        assert.match(`${yield* Effect.exit(connect(1, { heartbeat }))}`, /malformed/)
      }
    }).pipe(Effect.scoped)
  )
})
