/** Durations are measured by the monotonic clock, which nobody sets. The wall clock is for epochs and for people. */
import type { Clock } from "effect"

const NANOS_PER_MILLI = 1_000_000

/** The time in milliseconds, from an arbitrary beginning. */
export const monotonicMillis = (clock: Clock.Clock) => (): number =>
  Number(clock.monotonicTimeNanosUnsafe()) / NANOS_PER_MILLI
