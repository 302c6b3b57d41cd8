/**
 * Who leads when a connection stalls or a process freezes: on real sockets and in real time, with a proxy
 * that stops passing on bytes. `Connection.test.ts` has the lease itself, on `TestClock`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { Leader, RankClient } from "../../src/index.ts"
import { type Client, join } from "../support/client.ts"
import { says, shell } from "../support/process.ts"
import { proxy } from "../support/proxy.ts"
import { until } from "../support/until.ts"
import { Port, serverLayer } from "../support/wire.ts"

/** Accepts these leases, and has waited for an earlier leader soon. */
const settling = serverLayer({ settle: Duration.millis(2500) })

/** Short, for tests; the server looks at its clients four times as often. */
const HEARTBEAT = 600

/** Three heartbeats, in milliseconds, and what a loaded machine takes. */
const threeOf = (heartbeat: number) => 3 * heartbeat + 500

/** Leads whenever this client can, with work that takes its time to stop; when it began, and when it had ended. */
const leading = Effect.fnUntraced(function* (client: Client) {
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

describe("the lead", { concurrent: true }, () => {
  it.live.each([["up"], ["down"], ["up", "down"]] as const)(
    "ends before the next member leads, if the connection stalls: %s",
    (directions) =>
      Effect.gen(function* () {
        const port = yield* Port
        const between = yield* proxy(port)
        const first = yield* leading(yield* join(between.port, { heartbeat: HEARTBEAT }))
        const next = yield* leading(yield* join(port, { heartbeat: HEARTBEAT }))
        yield* until(() => first.begun > 0)
        // Longer than a lease: the client renews it.
        yield* Effect.sleep(3 * HEARTBEAT)
        assert.strictEqual(first.ended, 0)
        const stalled = performance.now()
        between.stall(...directions)
        between.refuse()
        yield* until(() => next.begun > 0)
        assert.isAbove(first.ended, stalled)
        assert.isAbove(next.begun, first.ended)
        assert.isBelow(next.begun - stalled, threeOf(HEARTBEAT))
      }).pipe(Effect.scoped, Effect.provide(settling))
  )

  it.live(
    "passes on within three heartbeats when the process freezes, and the process stops at once when it continues",
    () =>
      Effect.gen(function* () {
        const heartbeat = 1000
        const port = yield* Port
        const start = (name: string) =>
          shell(`exec node --import tsx test/support/candidate.ts ${port} ${name} ${heartbeat}`)
        const a = yield* start("a")
        yield* says(a.stdout, /a works/)
        const b = yield* start("b")
        yield* says(b.stdout, /b waits/)
        a.child.kill("SIGSTOP")
        const frozen = performance.now()
        yield* says(b.stdout, /b works/)
        assert.isBelow(performance.now() - frozen, threeOf(heartbeat))
        const worked = () => a.stdout().split("a works").length
        const before = worked()
        a.child.kill("SIGCONT")
        yield* says(a.stdout, /a stops/)
        // Timers run in the order in which they were due, and one of the work's may be first.
        assert.isAtMost(worked(), before + 1)
      }).pipe(Effect.scoped, Effect.provide(settling))
  )
})
