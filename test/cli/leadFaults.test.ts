/** Two `rankd lead` and random faults: two jobs never run at a time, by their own records. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import { job, lead, livesIn, parentOf, recordFile, started, watchdogOf, withServer } from "../support/lead.ts"
import type { Run } from "../support/process.ts"

/** How many faults there are: more on demand. */
const FAULTS = Number(process.env.RANKD_FAULTS ?? 6)

const faults = ["lead", "watchdog", "job"].flatMap((who) => ["SIGKILL", "SIGSTOP"].map((how) => ({ who, how })))

const signal = (pid: number | undefined, how: string) =>
  Effect.ignore(Effect.try(() => pid !== undefined && process.kill(pid, how)))

describe("faults", () => {
  it.live(
    `never make two jobs run at a time, in ${FAULTS} of them`,
    () =>
      withServer(
        Effect.gen(function* () {
          const file = yield* recordFile
          const start = lead(["--heartbeat", "500ms", "--kill-after", "300ms", ...job(file, "stubborn")])
          const runs: Array<Run> = [yield* start, yield* start]
          for (let fault = 0; fault < FAULTS; fault++) {
            const { pid } = yield* started(file, Math.max(1, livesIn(file).length))
            yield* Effect.sleep(yield* Random.nextIntBetween(50, 1000))
            const { how, who } = faults[fault % faults.length]!
            // A shell is between a job and its `lead`.
            const leader = parentOf(parentOf(pid) ?? 0)
            const run = runs.find(({ child }) => child.pid === leader) ?? runs[0]!
            const victim = { lead: run.child.pid, watchdog: watchdogOf(run), job: pid }[who]
            yield* signal(victim, how)
            yield* Effect.sleep(yield* Random.nextIntBetween(100, 3000))
            yield* signal(victim, "SIGCONT")
            for (const [at, { ended }] of runs.entries()) if (ended()) runs[at] = yield* start
          }
          yield* Effect.sleep("2 seconds")
          const lives = livesIn(file)
          for (const [at, { from }] of lives.entries()) {
            assert.isAbove(from, Math.max(0, ...lives.slice(0, at).map(({ to }) => to)), `job ${at}`)
          }
          assert.isAbove(lives.length, 1)
        })
      ),
    { timeout: 60_000 + FAULTS * 8_000 }
  )
})
