/** The monotonic clock measures durations, because no operator can set it. The wall clock is for epochs and for people. */
import { type Clock, Effect } from "effect"

const NANOS_PER_MILLI = 1_000_000

/** Succeeds at this time, or a moment later. A single timer may be a fraction of a millisecond early. */
export const sleepUntil = (time: number, now: () => number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const left = time - now()
    return left <= 0 ? Effect.void : Effect.flatMap(Effect.sleep(Math.ceil(left)), () => sleepUntil(time, now))
  })

/** Milliseconds in which a process that was frozen reads what has come. */
const AFTER_FREEZE = 50

/** The time in milliseconds since an arbitrary moment. */
export const monotonicMillis = (clock: Clock.Clock) => (): number =>
  Number(clock.monotonicTimeNanosUnsafe()) / NANOS_PER_MILLI

/**
 * Succeeds after so many milliseconds. Its last part is a timer of its own: a process that was
 * frozen meanwhile first reads what has come, so that it does not blame its clients.
 */
export const deadlineIn = (millis: number): Effect.Effect<void> =>
  Effect.andThen(Effect.sleep(Math.max(0, millis - AFTER_FREEZE)), Effect.sleep(Math.min(millis, AFTER_FREEZE)))
