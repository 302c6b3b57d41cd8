/** That `rankd lead` never leaves its command behind, and that two commands never run at a time: by their own records. */
import { execFileSync } from "node:child_process"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import {
  childrenOf,
  job,
  lead,
  livesIn,
  now,
  recordFile,
  started,
  stateOf,
  vanished,
  watchdogOf,
  withServer
} from "../support/lead.ts"
import { gone, rankd, says } from "../support/process.ts"
import { until } from "../support/until.ts"
import { Port } from "../support/wire.ts"

/** How often `lead` is killed: 50 and more on demand. */
const KILLS = Number(process.env.RANKD_KILLS ?? 8)

describe("a job", () => {
  it.live.each(["KILL", "PWR", "IO", "RTMAX"])("does not outlive its `lead` that SIG%s ends", (signal) =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        const run = yield* lead(job(file, "stubborn"))
        yield* started(file, 1)
        const watchdog = watchdogOf(run)!
        execFileSync("bash", ["-c", `kill -${signal} ${run.child.pid}`])
        assert.isBelow(yield* vanished(file), 1)
        yield* gone(watchdog)
      })
    )
  )

  it.live("ends within the lease of a `lead` that is stopped, though it does not heed SIGTERM", () =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        const run = yield* lead(["--heartbeat", "500ms", "--kill-after", "300ms", ...job(file, "stubborn")])
        const { pid } = yield* started(file, 1)
        run.child.kill("SIGSTOP")
        const at = now()
        yield* gone(pid)
        assert.isBelow(livesIn(file)[0]!.to, at + 1)
        assert.isAbove(livesIn(file)[0]!.to, at + 0.2)
        // Its place is lost, too.
        yield* Effect.sleep("500 millis")
        run.child.kill("SIGCONT")
        // It leads again, and runs the command again.
        yield* started(file, 2)
      })
    )
  )

  it.live("ends when its watchdog dies, and runs again under another watchdog", () =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        const run = yield* lead(job(file))
        const { pid } = yield* started(file, 1)
        process.kill(watchdogOf(run)!, "SIGKILL")
        const at = now()
        yield* gone(pid)
        assert.isBelow(livesIn(file)[0]!.to, at + 1)
        yield* started(file, 2)
        run.child.kill("SIGKILL")
        assert.isBelow(yield* vanished(file), 1)
        assert.match(run.stderr(), /the watchdog has ended, so the command was ended\. It starts again/)
      })
    )
  )

  it.live("ends when its watchdog is stopped, and does not answer", () =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        const run = yield* lead(job(file))
        const { pid } = yield* started(file, 1)
        const watchdog = watchdogOf(run)!
        process.kill(watchdog, "SIGSTOP")
        yield* gone(pid)
        yield* gone(watchdog)
        yield* says(run.stderr, /the watchdog does not answer/)
      })
    )
  )

  it.live(`does not outlive its \`lead\` that is killed at any moment, ${KILLS} times`, () =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        const port = `${yield* Port}`
        const once = (kill: number) =>
          Effect.gen(function* () {
            const run = yield* rankd([
              "lead",
              "--port",
              port,
              "--group",
              `g${kill}`,
              ...job(`${file}${kill}`, "stubborn")
            ])
            const pid = run.child.pid!
            // From before the start of the command to long after it, and from the first moment of its process on.
            if (kill % 2 === 0) yield* Effect.sleep(250 + (kill % 20) * 50)
            else yield* until(() => run.ended() || childrenOf(pid).some((child) => child !== watchdogOf(run)))
            if (kill % 4 === 3) yield* Effect.sleep(kill % 20)
            run.child.kill("SIGKILL")
            assert.isBelow(yield* vanished(`${file}${kill}`), 1, `kill ${kill}`)
          }).pipe(Effect.scoped)
        yield* Effect.forEach(Array.from({ length: KILLS }).keys(), once, { concurrency: 2 })
      })
    )
  )

  it.live("stops with its `lead` at Ctrl-Z, continues with it, and ends when the lease is over", () =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        const run = yield* lead(["--heartbeat", "1s", "--kill-after", "500ms", ...job(file)])
        const { pid } = yield* started(file)
        const stop = Effect.gen(function* () {
          run.child.kill("SIGTSTP")
          while (stateOf(run.child.pid!) !== "T") yield* Effect.sleep("10 millis")
          assert.strictEqual(stateOf(pid), "T")
        })
        yield* stop
        run.child.kill("SIGCONT")
        while (stateOf(pid) === "T") yield* Effect.sleep("10 millis")
        yield* Effect.sleep("2 seconds")
        assert.notStrictEqual(stateOf(run.child.pid!), "T")
        assert.strictEqual(livesIn(file).length, 1)
        yield* stop
        const at = now()
        yield* gone(pid)
        assert.isBelow(now(), at + 2.1)
        run.child.kill("SIGCONT")
        yield* started(file, 2)
      })
    )
  )

  it.live("runs on with a short heartbeat, if there is time to be late in", () =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        yield* lead(["--heartbeat", "250ms", "--kill-after", "50ms", ...job(file)])
        const { pid } = yield* started(file)
        yield* Effect.sleep("3 seconds")
        assert.deepStrictEqual(
          livesIn(file).map((life) => life.pid),
          [pid]
        )
      })
    )
  )

  it.live("starts under another watchdog if that of a waiting `lead` was stopped or killed", () =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        const patient = ["--kill-after", "500ms", ...job(file)]
        const first = yield* lead(patient)
        yield* started(file)
        const second = yield* lead(patient)
        yield* says(second.stderr, /rank 1 of 2/)
        for (const signal of ["SIGKILL", "SIGSTOP"]) {
          const watchdog = watchdogOf(second)!
          process.kill(watchdog, signal)
          yield* gone(watchdog)
          while (watchdogOf(second) === undefined) yield* Effect.sleep("10 millis")
        }
        process.kill(watchdogOf(second)!, "SIGSTOP")
        first.child.kill("SIGTERM")
        yield* Effect.race(started(file, 2), second.exit)
        second.child.kill("SIGKILL")
        yield* vanished(file)
        assert.strictEqual(livesIn(file).length, 2)
      })
    )
  )
})
