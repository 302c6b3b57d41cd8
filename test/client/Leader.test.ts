/** Who leads, under which epoch, and when the work of a leader ends. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Scope } from "effect"
import { Leader, RankClient } from "../../src/index.ts"
import { type Client, join, standingOf } from "../support/client.ts"
import { admittedTo, welcoming } from "../support/memoryClient.ts"
import { proxy } from "../support/proxy.ts"
import { passUntil, until } from "../support/until.ts"
import { Port, serverLayer } from "../support/wire.ts"

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
  const first = yield* Scope.provide(join(port), scope)
  const second = yield* join(port)
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
      const client = yield* admittedTo(welcoming())
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
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
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
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )

  it.live("hands over fifty times, and no two members ever lead under the same epoch", () =>
    Effect.gen(function* () {
      const port = yield* Port
      /** The leader under each epoch, in the order in which they led. */
      const held = new Map<number, string>()
      let kill = () => {}
      // So many that the one killed longest ago is back, at the rate at which a client connects again.
      const lines = yield* Effect.forEach(Array.from({ length: 10 }), () => proxy(port))
      for (const [index, line] of lines.entries()) {
        const name = `p${index}`
        const candidate = yield* join(line.port, { name })
        const work = Leader.whileLeader((epoch) =>
          Effect.suspend(() => {
            assert.isFalse(held.has(epoch), `${name} and ${held.get(epoch)} lead under ${epoch}`)
            assert.isAbove(epoch, [...held.keys()].at(-1) ?? 0)
            held.set(epoch, name)
            kill = line.cut
            return Effect.never
          })
        )
        yield* Effect.forkScoped(Effect.orDie(Effect.provideService(work, RankClient, candidate)))
      }
      for (let kills = 1; kills <= 50; kills++) {
        yield* until(() => held.size >= kills)
        kill()
      }
      yield* until(() => held.size >= 51)
      assert.strictEqual(new Set(held.values()).size, lines.length)
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )
})
