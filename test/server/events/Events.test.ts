import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Scope } from "effect"
import { Events, type Observer } from "../../../src/server/events/Events.ts"
import { Network, say, server, settled } from "../../support/memoryServer.ts"

class Counter implements Observer {
  seen: Array<string> = []
  named(member: string, name: string) {
    this.seen.push(`${member} ${name}`)
  }
}

describe("an observer", () => {
  it.effect("is called in order until its scope closes, also if it is a class; the counters need no observer", () =>
    Effect.gen(function* () {
      const events = new Events()
      const scope = yield* Scope.make()
      const [first, second] = [new Counter(), new Counter()]
      yield* Scope.provide(events.observe(first), scope)
      yield* events.observe(second)
      events.named("m1", "a", "g")
      yield* Scope.close(scope, Exit.void)
      events.named("m1", "b", "g")
      assert.deepStrictEqual([first.seen, second.seen], [["m1 a"], ["m1 a", "m1 b"]])
      events.refused("x", "group full", "server full", undefined)
      events.refused("x", "group full", "server full", undefined)
      events.deliveryEnded("m1", "a", "m2", 0)
      events.deliveryEnded("m1", "a", "m3", 7)
      events.deliveryEnded("m1", "a", "m4", "lost")
      assert.deepStrictEqual(events.stats.refusals, { "group full": 2 })
      assert.deepStrictEqual(events.stats.outcomes, { ok: 1, failed: 1, lost: 1 })
    }).pipe(Effect.scoped)
  )

  it.effect("that throws is dropped, and the others get an event about it", () =>
    Effect.gen(function* () {
      const events = new Events()
      const failed: Array<string> = []
      let calls = 0
      yield* events.observe({
        left: () => {
          calls++
          throw new Error("mine")
        }
      })
      yield* events.observe({ observerFailed: (event, error) => failed.push(`${event} ${error}`) })
      events.left("m1", undefined, "g", "x", "quit")
      events.left("m2", undefined, "g", "x", "quit")
      assert.strictEqual(calls, 1)
      assert.deepStrictEqual(failed, ["left Error: mine"])
    }).pipe(Effect.scoped)
  )
})

describe("a defect of the server", () => {
  it.effect("ends one session, and the log says what it was", () => {
    const logged: Array<string> = []
    return Effect.gen(function* () {
      const { connect } = yield* Network
      const [a, b] = [yield* connect, yield* connect]
      a.fail(new Error("broken"))
      yield* settled
      assert.include(logged.join("\n"), "session failed address=unknown detail=Error: broken")
      assert.match(b.lines().join(), /RANK 0 1 \d+ m2/)
    }).pipe(server({}, logged))
  })
})

describe("a server that stops", () => {
  it.effect("gives up the seats of absent members, too", () => {
    const logged: Array<string> = []
    return Effect.gen(function* () {
      const network = yield* Network
      const lost = yield* network.connect
      yield* say(lost, '{"_tag":"Hello","protocol":1}')
      lost.reset()
      yield* settled
      yield* network.stop
      assert.deepStrictEqual(
        logged.filter((line) => line.startsWith("left ")),
        ["left member=m1 group=default address=unknown reason=shutting down"]
      )
    }).pipe(server({ grace: Duration.seconds(30), drain: Duration.zero }, logged))
  })
})
