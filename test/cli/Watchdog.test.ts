/** The watchdog alone, with a group of its own: what it does when the machine or it itself was stopped. */
import { spawn } from "node:child_process"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { after, clocks, isOver, until as untilText, Watchdog } from "../../src/cli/lead/Watchdog.ts"
import { parentOf, processesOf } from "../support/lead.ts"
import { until } from "../support/until.ts"

/** The watchdogs of this process: other tests have theirs at the same time. */
const watchdogs = () => processesOf("rankd watchdog").filter((pid) => parentOf(pid) === process.pid)

const deadlineIn = (millis: number) => after(clocks(), millis)

/** A process group that runs, and a watchdog that guards it. */
const guarded = Effect.fnUntraced(function* (killAfter: number) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => spawn("sh", ["-c", "trap '' TERM; while :; do sleep 0.05; done"], { detached: true })),
    (child) => Effect.ignore(Effect.try(() => process.kill(-child.pid!, "SIGKILL")))
  )
  let at: number | undefined
  child.on("exit", () => {
    at = performance.now()
  })
  const before = watchdogs()
  const watchdog = yield* Effect.acquireRelease(
    Effect.sync(() => new Watchdog()),
    (watchdog) => Effect.sync(() => watchdog.end())
  )
  yield* watchdog.ask(`guard ${child.pid} ${killAfter}`)
  const pid = watchdogs().find((pid) => !before.includes(pid))!
  return { watchdog, pid, endedAt: () => at, ended: () => at !== undefined }
})

describe("a watchdog", () => {
  it.live("kills its group when one of the two clocks shows the deadline", () =>
    Effect.gen(function* () {
      for (const clock of ["monotonic", "uptime"] as const) {
        const { endedAt, watchdog } = yield* guarded(100)
        const far = deadlineIn(60_000)
        const start = performance.now()
        yield* watchdog.ask(untilText({ ...far, [clock]: deadlineIn(600)[clock] }))
        yield* until(() => endedAt() !== undefined)
        assert.isAbove(endedAt()! - start, 400, clock)
        assert.isBelow(endedAt()! - start, 700, clock)
      }
    }).pipe(Effect.scoped)
  )

  it.live("kills a group whose deadline has passed while it was stopped itself, whatever it hears after that", () =>
    Effect.gen(function* () {
      const { ended, pid, watchdog } = yield* guarded(100)
      yield* watchdog.ask(untilText(deadlineIn(600)))
      process.kill(pid, "SIGSTOP")
      yield* Effect.sleep("1 second")
      assert.isFalse(ended())
      watchdog.tell(untilText(deadlineIn(60_000)))
      process.kill(pid, "SIGCONT")
      assert.strictEqual(yield* watchdog.ask("verdict"), "stopped")
      yield* until(ended)
    }).pipe(Effect.scoped)
  )

  it.live("does not stop a group whose deadline moves on, and ends with its standard input", () =>
    Effect.gen(function* () {
      const { ended, watchdog } = yield* guarded(100)
      for (let time = 0; time < 10; time++) {
        yield* watchdog.ask(untilText(deadlineIn(400)))
        yield* Effect.sleep("100 millis")
      }
      assert.isFalse(ended())
      assert.strictEqual(yield* watchdog.ask("verdict"), "not stopped")
      watchdog.end()
      yield* Deferred.await(watchdog.lost)
      yield* until(ended)
    }).pipe(Effect.scoped)
  )

  it("knows when a deadline is over", () => {
    assert.isFalse(isOver(deadlineIn(100)))
    assert.isTrue(isOver(deadlineIn(-20)))
    assert.isTrue(isOver({ ...deadlineIn(100), uptime: 0 }))
    assert.isTrue(isOver({ ...deadlineIn(100), monotonic: 0 }))
  })
})
