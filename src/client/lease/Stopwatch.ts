/**
 * Measures durations for a lease. It owns the choice of the clock: the monotonic clock, or the uptime of the machine
 * where the platform has one, whichever is further. The monotonic clock may stand still while the machine is
 * suspended; the uptime counts that, in coarse steps.
 *
 * Invariant: a duration is never shorter than the monotonic clock says.
 */
import { Clock, Context, Effect } from "effect"

/** Milliseconds since the machine has started, suspends included. By default it stands still: then it does not count. */
export const Uptime = Context.Reference<() => number>("rankd/client/Uptime", { defaultValue: () => () => 0 })

const NANOS_PER_MILLI = 1_000_000

/** In milliseconds. */
export interface Moment {
  readonly monotonic: number
  readonly uptime: number
}

export class Stopwatch {
  readonly #clock: Clock.Clock
  readonly #uptime: () => number

  static readonly make: Effect.Effect<Stopwatch> = Effect.gen(function* () {
    return new Stopwatch(yield* Clock.Clock, yield* Uptime)
  })

  private constructor(clock: Clock.Clock, uptime: () => number) {
    this.#clock = clock
    this.#uptime = uptime
  }

  now(): Moment {
    return { monotonic: Number(this.#clock.monotonicTimeNanosUnsafe()) / NANOS_PER_MILLI, uptime: this.#uptime() }
  }

  /** Milliseconds since then. */
  since({ monotonic, uptime }: Moment): number {
    const now = this.now()
    return Math.max(now.monotonic - monotonic, now.uptime - uptime)
  }
}
