/** Two never act, and the next one acts soon: a few seconds of seeds. `run.ts` repeats a seed, and runs for longer. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { search } from "./search.ts"
import { simulate } from "./simulation.ts"

/** `RANKD_SEED` repeats a run; `RANKD_SECONDS` is for more runs. */
const SECONDS = Number(process.env.RANKD_SECONDS ?? 5)
const first = Number(process.env.RANKD_SEED ?? Math.floor(Math.random() * 1_000_000))

describe("succession", () => {
  it.live("never lets two act, and lets somebody act after 10 seconds without a fault", () =>
    Effect.gen(function* () {
      const seconds = process.env.RANKD_SEED === undefined ? SECONDS : 0
      const { violation } = yield* Effect.promise(() => search(simulate, first, seconds))
      if (violation === undefined) return
      assert.fail(`${violation.log.join("\n")}\n${violation.what}: RANKD_SEED=${violation.seed}`)
    })
  )
})
