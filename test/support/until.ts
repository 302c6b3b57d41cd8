/** Waiting for a condition with a deadline, on the real clock or on `TestClock`. */
import { setTimeout as sleep } from "node:timers/promises"
import { Duration, Effect } from "effect"
import { TestClock } from "effect/testing"

/** Waits until the condition holds, in real time, whatever the clock of the test. It dies after `limit`. */
export const until = (condition: () => boolean, limit: Duration.Input = "60 seconds"): Effect.Effect<void> =>
  Effect.promise(async (signal) => {
    const deadline = performance.now() + Duration.toMillis(limit)
    while (!condition() && !signal.aborted) {
      if (performance.now() > deadline) throw new Error(`never so: ${condition}`)
      await sleep(2)
    }
  })

/** Lets time pass on `TestClock` until the condition holds. It dies after `limit` of that time. */
export const passUntil = (condition: () => boolean, limit: Duration.Input = "1 minute"): Effect.Effect<void> =>
  Effect.gen(function* () {
    for (let passed = 0; !condition(); passed += STEP) {
      if (passed > Duration.toMillis(limit)) return yield* Effect.die(new Error(`never so: ${condition}`))
      yield* TestClock.adjust(STEP)
    }
  })

/** Milliseconds of `TestClock` from one look at the condition to the next. */
const STEP = 10
