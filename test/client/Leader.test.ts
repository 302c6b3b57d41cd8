/** Who leads, under which epoch, and when the work of a leader ends. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Logger, Option, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Leader, RankClient } from "../../src/index.ts"
import { type Client, join, standingOf } from "../support/client.ts"
import { admittedTo, welcoming } from "../support/memoryClient.ts"
import { memoryFake } from "../support/memoryFake.ts"
import { passUntil, until } from "../support/until.ts"
import { Port, serverLayer } from "../support/wire.ts"

/** Short, so that the server settles soon. */
const HEARTBEAT = 400

/** Accepts these leases, and has waited for the leader before it soon. */
const settled = serverLayer({ settle: Duration.seconds(1) })

const rank = (rank: number, epoch: number) => ({ _tag: "Rank", rank, size: 2, epoch, member: "m1" }) as const

/** Leads whenever this client can; `events` gets when the work begins, and when it has ended, which takes `ending`. */
const lead = (client: Client, name: string, events: Array<string>, ending: Effect.Effect<void> = Effect.void) =>
  Leader.whileLeader((epoch) => {
    events.push(`${name} begins ${epoch}`)
    const end = Effect.sync(() => events.push(`${name} ends ${epoch}`))
    return Effect.onInterrupt(Effect.never, () => Effect.andThen(ending, end))
  }).pipe(Effect.provideService(RankClient, client), Effect.forkScoped)

/** Two clients of one server, in the order of their ranks; the scope of the first is apart. */
const two = Effect.gen(function* () {
  const port = yield* Port
  const scope = yield* Scope.make()
  const first = yield* Scope.provide(join(port, { heartbeat: HEARTBEAT }), scope)
  const second = yield* join(port, { heartbeat: HEARTBEAT })
  return { first, second, leave: Scope.close(scope, Exit.void) }
})

const epochOf = (client: Client) => standingOf(client)?.epoch

describe("whileLeader", () => {
  it.effect("begins again under each new epoch, after the work under the old one has ended", () =>
    Effect.gen(function* () {
      const server = welcoming()
      const client = yield* admittedTo(server)
      const events: Array<string> = []
      let ending: Effect.Effect<void> = Effect.sleep("200 millis")
      yield* lead(
        client,
        "a",
        events,
        Effect.suspend(() => ending)
      )
      // At the end of the test nothing moves the clock any more.
      yield* Effect.addFinalizer(() => Effect.sync(() => (ending = Effect.void)))
      yield* passUntil(() => events.length === 1)
      server.latest().say(rank(0, 8))
      yield* passUntil(() => events.length === 3)
      // The lead comes and goes while the work under epoch 8 ends.
      server.latest().say(rank(1, 9), rank(0, 10), rank(1, 11))
      yield* passUntil(() => events.length === 4)
      server.latest().say(rank(0, 12))
      yield* passUntil(() => events.length === 5)
      assert.deepStrictEqual(events, ["a begins 7", "a ends 7", "a begins 8", "a ends 8", "a begins 12"])
    })
  )

  it.effect("fails as its effect fails, even if that throws", () =>
    Effect.gen(function* () {
      let epoch = 7
      const server = welcoming(({ _tag }, connection) => {
        if (_tag === "Yield") connection.say(rank(0, ++epoch))
      })
      const client = yield* admittedTo(server)
      const provided = Effect.provideService(RankClient, client)
      const thrown = Leader.whileLeader((): Effect.Effect<void> => {
        throw new Error("boom")
      })
      assert.match(`${yield* Effect.exit(provided(thrown))}`, /boom/)
      assert.strictEqual(yield* Effect.flip(provided(Leader.whileLeader(() => Effect.fail("no")))), "no")
    })
  )

  it.live("hands over only after the work has ended, if the leader leaves by itself", () =>
    Effect.gen(function* () {
      const { first, leave, second } = yield* two
      const events: Array<string> = []
      const stopped = yield* Deferred.make<void>()
      yield* lead(first, "a", events, Deferred.await(stopped))
      yield* lead(second, "b", events)
      yield* until(() => events.length === 1)
      const epoch = epochOf(first)
      const left = yield* Effect.forkChild(leave, { startImmediately: true })
      // The server still has the leader above it.
      assert.strictEqual((yield* Effect.flip(second.exec("0", "x"))).reason, "rank too high")
      assert.deepStrictEqual(events, [`a begins ${epoch}`])
      yield* Deferred.succeed(stopped, undefined)
      yield* Fiber.join(left)
      yield* until(() => events.length === 3)
      assert.deepStrictEqual(events.slice(1), [`a ends ${epoch}`, `b begins ${epochOf(second)}`])
    }).pipe(Effect.scoped, Effect.provide(settled))
  )

  it.live("interrupts the work when the lead is lost, and ends when the work ends by itself", () =>
    Effect.gen(function* () {
      const { first, leave, second } = yield* two
      const events: Array<string> = []
      yield* lead(first, "a", events)
      const work = Leader.whileLeader((epoch) => Effect.as(Effect.sleep("20 millis"), `done under ${epoch}`))
      const waiting = yield* Effect.forkChild(Effect.provideService(work, RankClient, second))
      const epoch = yield* Effect.provideService(Leader.awaitLeader, RankClient, first)
      assert.strictEqual(epoch, epochOf(first))
      // A round trip later the second has still not begun.
      yield* first.exec("1", "x")
      assert.deepStrictEqual(events, [`a begins ${epoch}`])
      assert.isUndefined(waiting.pollUnsafe())
      yield* leave
      assert.strictEqual(yield* Fiber.join(waiting), `done under ${epochOf(second)}`)
      assert.deepStrictEqual(events, [`a begins ${epoch}`, `a ends ${epoch}`])
    }).pipe(Effect.scoped, Effect.provide(settled))
  )

  it.live("hands over thirty times, and no two members ever lead under the same epoch", () =>
    Effect.gen(function* () {
      const port = yield* Port
      /** The leader under each epoch, in the order in which they led. */
      const held = new Map<number, string>()
      let end: Effect.Effect<unknown> = Effect.void
      const members = Array.from({ length: 10 }, (_, index) => `p${index}`)
      for (const name of members) {
        const candidate = yield* join(port, { name, heartbeat: HEARTBEAT })
        const work = Leader.whileLeader((epoch) =>
          Effect.suspend(() => {
            assert.isFalse(held.has(epoch), `${name} and ${held.get(epoch)} lead under ${epoch}`)
            assert.isAbove(epoch, [...held.keys()].at(-1) ?? 0)
            held.set(epoch, name)
            const ended = Deferred.makeUnsafe<void>()
            end = Deferred.succeed(ended, undefined)
            return Deferred.await(ended)
          })
        )
        yield* Effect.forkScoped(Effect.orDie(Effect.provideService(Effect.forever(work), RankClient, candidate)))
      }
      for (let ends = 1; ends <= 30; ends++) {
        yield* until(() => held.size >= ends)
        yield* end
      }
      yield* until(() => held.size >= 31)
      assert.strictEqual(new Set(held.values()).size, members.length)
    }).pipe(Effect.scoped, Effect.provide(settled))
  )

  it.effect("goes on when the connection is lost, and under the same token when it comes back", () =>
    Effect.gen(function* () {
      const server = memoryFake((said, connection) => {
        const at = server.connections.length
        if (said._tag === "Hello") connection.welcome({ epoch: 6 + at, resume: "r" })
        if (said._tag === "Ping") connection.say({ _tag: "Pong", text: `${said.text}` })
      })
      const client = yield* admittedTo(server, { lease: true })
      const events: Array<string> = []
      yield* lead(client, "a", events)
      for (let connections = 2; connections <= 4; connections++) {
        yield* TestClock.adjust("900 millis")
        server.latest().cut()
        yield* passUntil(() => server.connections.length === connections, "200 millis")
        yield* TestClock.adjust("10 seconds")
      }
      assert.deepStrictEqual(events, ["a begins 7"])
      assert.deepInclude(server.latest().said[0], { lease: true, heartbeat: 2000 })
    })
  )

  it.effect.each(Array.from({ length: 25 }, (_, index) => 500 + 40 * index))(
    "goes on over a break of a second that begins after %d milliseconds, with the limits of rankd lead",
    (begin) =>
      Effect.gen(function* () {
        let isBroken = false
        const server = memoryFake((said, connection) => {
          if (isBroken) connection.cut()
          else if (said._tag === "Hello") connection.welcome({ resume: "r" })
          else if (said._tag === "Ping") connection.say({ _tag: "Pong", text: `${said.text}` })
        })
        const client = yield* admittedTo(server, { lease: true })
        let begun = 0
        const work = Leader.whileLeader(
          () =>
            Effect.andThen(
              Effect.sync(() => begun++),
              Effect.never
            ),
          {
            stopWithin: "2200 millis"
          }
        )
        const leading = yield* Effect.forkScoped(Effect.provideService(work, RankClient, client))
        yield* TestClock.adjust(begin)
        isBroken = true
        server.latest().cut()
        yield* TestClock.adjust("1 second")
        isBroken = false
        yield* TestClock.adjust("10 seconds")
        assert.isAbove(server.connections.length, 2)
        assert.isUndefined(leading.pollUnsafe())
        assert.strictEqual(begun, 1)
      })
  )

  it.effect("does not go on in another group, although the member is the same", () =>
    Effect.gen(function* () {
      const server = memoryFake((said, connection) => {
        const at = server.connections.length
        // Another process that has the resume token has taken the seat to the second group.
        const group = at === 1 ? "default" : "other"
        if (said._tag === "Hello") connection.welcome({ epoch: 6 + at, resume: "r", group })
        if (said._tag === "Ping") connection.say({ _tag: "Pong", text: `${said.text}` })
      })
      const client = yield* admittedTo(server, { lease: true })
      const events: Array<string> = []
      yield* lead(client, "a", events)
      yield* passUntil(() => events.length === 1)
      server.latest().cut()
      yield* passUntil(() => server.connections.length === 2)
      yield* passUntil(() => standingOf(client)?.group === "other")
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(events, ["a begins 7", "a ends 7", "a begins 8"])
    })
  )

  it.effect(
    "is interrupted so early that it has ended with the lease, two heartbeats after the last answered ping",
    () =>
      Effect.gen(function* () {
        const server = welcoming()
        const client = yield* admittedTo(server, { lease: true })
        const events: Array<string> = []
        let ending: Effect.Effect<void> = Effect.sleep("1950 millis")
        yield* lead(
          client,
          "a",
          events,
          Effect.suspend(() => ending)
        )
        // At the end of the test nothing moves the clock any more.
        yield* Effect.addFinalizer(() => Effect.sync(() => (ending = Effect.void)))
        const left = Effect.map(
          Effect.provideService(Leader.leaseLeft, RankClient, client),
          Option.map(Duration.toMillis)
        )
        yield* TestClock.adjust("1900 millis")
        assert.deepStrictEqual(events, ["a begins 7"])
        assert.isBelow(Option.getOrThrow(yield* left), 2100)
        yield* TestClock.adjust("2080 millis")
        assert.deepStrictEqual(events, ["a begins 7", "a ends 7"])
        assert.isBelow(Option.getOrThrow(yield* left), 30)
      })
  )

  it.effect("waits for the lead-in, and then until the server has answered a ping", () =>
    Effect.gen(function* () {
      let answers = true
      const server = memoryFake((said, connection) => {
        if (said._tag === "Hello") connection.welcome({ leadIn: 3000 })
        if (said._tag === "Ping" && answers) connection.say({ _tag: "Pong", text: `${said.text}` })
      })
      const client = yield* admittedTo(server, { lease: true })
      const events: Array<string> = []
      yield* lead(client, "a", events)
      yield* TestClock.adjust("2900 millis")
      answers = false
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(events, [])
      answers = true
      yield* TestClock.adjust("200 millis")
      assert.deepStrictEqual(events, ["a begins 7"])
    })
  )

  it.effect("steps down when the effect has ended, unless it shall keep rank 0", () =>
    Effect.gen(function* () {
      const server = welcoming()
      const client = yield* admittedTo(server, { lease: true })
      const provided = Effect.provideService(RankClient, client)
      yield* provided(Leader.whileLeader(() => Effect.void, { afterwards: "keep" }))
      yield* TestClock.adjust("10 millis")
      assert.strictEqual(server.latest().count("Yield"), 0)
      yield* provided(Leader.whileLeader(() => Effect.void))
      yield* TestClock.adjust("10 millis")
      assert.strictEqual(server.latest().count("Yield"), 1)
    })
  )

  it.effect("steps down after stopWithin although a finalizer hangs, and reports it", () =>
    Effect.gen(function* () {
      const server = welcoming((said, connection) => {
        if (said._tag === "Ping") connection.say({ _tag: "Pong", text: `${said.text}` })
      })
      const client = yield* admittedTo(server, { lease: true })
      const logged: Array<unknown> = []
      const work = yield* Leader.whileLeader(() => Effect.onInterrupt(Effect.never, () => Effect.never), {
        stopWithin: "1 second"
      }).pipe(
        Effect.provideService(RankClient, client),
        Effect.provide(Logger.layer([Logger.make(({ message }) => logged.push(message))])),
        Effect.forkChild
      )
      yield* TestClock.adjust("5 seconds")
      const stopping = yield* Effect.forkChild(Fiber.interrupt(work))
      yield* TestClock.adjust("990 millis")
      assert.strictEqual(server.latest().count("Yield"), 0)
      yield* TestClock.adjust("20 millis")
      assert.strictEqual(server.latest().count("Yield"), 1)
      assert.match(`${logged}`, /has not ended in time: others may lead now/)
      yield* Fiber.join(stopping)
    })
  )

  it.effect.each([
    ["is interrupted at once when the client is kicked", "kicked", 2],
    ["goes on when the server says goodbye for another reason", "shutting down", 1]
  ] as const)("%s", ([, reason, events]) =>
    Effect.gen(function* () {
      const server = welcoming()
      const client = yield* admittedTo(server, { lease: true })
      const seen: Array<string> = []
      yield* lead(client, "a", seen)
      yield* passUntil(() => seen.length === 1)
      server.latest().say({ _tag: "Bye", reason })
      server.latest().cut()
      yield* TestClock.adjust("20 millis")
      assert.lengthOf(seen, events)
    })
  )

  it.effect("does not say that it leaves before the work has ended, however long that may take", () =>
    Effect.gen(function* () {
      const server = memoryFake((said, connection) => {
        if (said._tag === "Hello") connection.welcome({ resume: "r" })
        if (said._tag === "Ping") connection.say({ _tag: "Pong", text: `${said.text}` })
      })
      const scope = yield* Scope.make()
      const client = yield* Scope.provide(admittedTo(server, { lease: true, heartbeat: "1 minute" }), scope)
      const events: Array<string> = []
      yield* lead(client, "a", events, Effect.sleep("50 seconds"))
      yield* passUntil(() => events.length === 1)
      const leaving = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("49 seconds")
      assert.deepStrictEqual([events.length, server.latest().count("Quit")], [1, 0])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual([events.length, server.latest().count("Quit")], [2, 1])
      yield* Fiber.join(leaving)
    })
  )

  it.effect("says once on a connection that it steps down: a second Yield could come when it leads again", () =>
    Effect.gen(function* () {
      const server = memoryFake((said, connection) => {
        if (said._tag !== "Hello") return
        connection.welcome({ resume: "r" })
        connection.say(rank(0, 7))
      })
      const client = yield* admittedTo(server, { lease: true })
      const ended = yield* Deferred.make<void>()
      yield* Effect.forkScoped(
        Effect.provideService(
          Leader.whileLeader(() => Deferred.await(ended)),
          RankClient,
          client
        )
      )
      yield* TestClock.adjust("100 millis")
      server.latest().cut()
      yield* Deferred.succeed(ended, undefined)
      yield* passUntil(() => server.connections.length === 2)
      yield* TestClock.adjust("100 millis")
      assert.strictEqual(server.latest().count("Yield"), 1)
    })
  )

  it.effect("lets the next member lead if it has rank 0 again, and its work under the earlier term hangs", () =>
    Effect.gen(function* () {
      const server = welcoming((said, connection) => {
        if (said._tag === "Ping") connection.say({ _tag: "Pong", text: `${said.text}` })
      })
      const client = yield* admittedTo(server, { lease: true })
      const hanging = yield* Deferred.make<void>()
      const work = Leader.whileLeader(() => Effect.onInterrupt(Effect.never, () => Deferred.await(hanging)))
      yield* Effect.forkScoped(Effect.provideService(work, RankClient, client))
      yield* Effect.addFinalizer(() => Deferred.succeed(hanging, undefined))
      yield* TestClock.adjust("1 second")
      server.latest().say(rank(1, 8), rank(0, 9))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(server.latest().count("Yield"), 0)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(server.latest().count("Yield"), 1)
      server.latest().say(rank(1, 10))
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(server.latest().count("Yield"), 1)
    })
  )

  it.effect("fails at once if stopWithin does not fit in the lease", () =>
    Effect.gen(function* () {
      const client = yield* admittedTo(welcoming(), { heartbeat: 1000 })
      for (const stopWithin of ["1500 millis", "2 seconds", "infinity"] as const) {
        const refused = Leader.whileLeader(() => Effect.never, {
          stopWithin: stopWithin === "infinity" ? Duration.infinity : stopWithin
        })
        const error = yield* Effect.flip(Effect.provideService(refused, RankClient, client))
        assert.match(error.message, /stopWithin: expected less than 1500 milliseconds/)
      }
    })
  )

  it.live("shows every member who leads, since when and under which epoch", () =>
    Effect.gen(function* () {
      const { first, leave, second } = yield* two
      const seen: Array<Leader.Current | undefined> = []
      yield* Effect.forkScoped(
        Effect.provideService(
          Stream.runForEach(Leader.current, (now) => Effect.sync(() => seen.push(now))),
          RankClient,
          second
        )
      )
      yield* until(() => seen.length === 1)
      assert.strictEqual(seen[0]?.member, standingOf(first)?.member)
      assert.isAtLeast(seen[0]!.epoch, epochOf(first)!)
      assert.closeTo(seen[0]!.since, Date.now(), 5000)
      yield* leave
      yield* until(() => seen.length === 2)
      assert.strictEqual(seen[1]?.member, standingOf(second)?.member)
      assert.strictEqual(seen[1]?.epoch, epochOf(second))
    }).pipe(Effect.scoped, Effect.provide(settled))
  )
})
