/** The monotonic clock measures durations, because no operator can set it. The wall clock is for epochs and for people. */
import type { Clock } from "effect"

const NANOS_PER_MILLI = 1_000_000

/** The time in milliseconds since an arbitrary moment. */
export const monotonicMillis = (clock: Clock.Clock) => (): number =>
  Number(clock.monotonicTimeNanosUnsafe()) / NANOS_PER_MILLI
