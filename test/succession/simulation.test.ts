/** Two never act, and somebody acts soon: a few seconds of seeds. `run.ts` repeats a seed, and runs for longer. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { simulate } from "./simulation.ts"

/** `RANKD_SEED` repeats a run; `RANKD_SECONDS` is for more runs. */
const SECONDS = Number(process.env.RANKD_SECONDS ?? 5)
const first = Number(process.env.RANKD_SEED ?? Math.floor(Math.random() * 1_000_000))

describe("succession", () => {
  it.live("never lets two act, and lets somebody act after 10 seconds without a fault", () =>
    Effect.gen(function* () {
      const end = performance.now() + (process.env.RANKD_SEED === undefined ? SECONDS * 1000 : 0)
      let seed = first
      do {
        const violation = yield* simulate(seed++)
        if (violation === undefined) continue
        assert.fail(`${violation.log.join("\n")}\n${violation.what}: RANKD_SEED=${violation.seed}`)
      } while (performance.now() < end)
    })
  )
})
