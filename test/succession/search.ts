/** Simulates one seed after the other, until the rule is broken or this process has worked for so many seconds on it. */
import { Effect } from "effect"
import type { Violation } from "./simulation.ts"

export interface Found {
  readonly runs: number
  readonly violation: Violation | undefined
}

export const search = async (
  simulate: (seed: number) => Effect.Effect<Violation | undefined>,
  first: number,
  seconds: number
): Promise<Found> => {
  const start = process.cpuUsage()
  const worked = () => {
    const { system, user } = process.cpuUsage(start)
    return (system + user) / 1_000_000
  }
  let runs = 0
  do {
    const violation = await Effect.runPromise(simulate(first + runs++))
    if (violation !== undefined) return { runs, violation }
    // The simulation leaves no time for signals and messages.
    await new Promise((resolve) => setImmediate(resolve))
  } while (worked() < seconds)
  return { runs, violation: undefined }
}
