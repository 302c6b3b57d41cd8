/**
 * A machine on the simulation's time: its clocks, and whether it runs. Its monotonic clock runs fast or slow and
 * stands still while the machine is suspended; its uptime does not. While its process is frozen or the machine is
 * suspended, no timer fires.
 */
import { type Clock, Duration, Effect, Latch } from "effect"

const NANOS_PER_MILLI = 1_000_000

/** `/proc/uptime` has steps of 10 ms. */
const GRAIN = 10

/** When something is due, in milliseconds of the simulation: in between nothing happens. */
export class Agenda {
  /** The latest first. */
  readonly #times: Array<number> = []

  add(time: number): void {
    let at = this.#times.length
    while (at > 0 && (this.#times[at - 1] ?? 0) < time) at--
    this.#times.splice(at, 0, time)
  }

  /** The first time after `now`; forgets all until then. */
  after(now: number): number {
    while ((this.#times.at(-1) ?? Number.POSITIVE_INFINITY) <= now) this.#times.pop()
    return this.#times.at(-1) ?? Number.POSITIVE_INFINITY
  }
}

export class Machine {
  readonly clock: Clock.Clock
  /** By how much its clocks are faster than the simulation's: 1.01 for 1 percent. */
  readonly #rate: number
  readonly #time: Clock.Clock
  readonly #agenda: Agenda
  readonly #running = Latch.makeUnsafe(true)
  /** Milliseconds of the simulation for which it was suspended, before and now. */
  #suspended = 0
  #suspendedAt: number | undefined
  #frozen = false
  #dead = false

  constructor(time: Clock.Clock, agenda: Agenda, rate: number) {
    this.#time = time
    this.#agenda = agenda
    this.#rate = rate
    this.clock = {
      ...time,
      currentTimeMillisUnsafe: () => Math.floor(time.currentTimeMillisUnsafe()),
      currentTimeMillis: Effect.sync(() => Math.floor(time.currentTimeMillisUnsafe())),
      currentTimeNanosUnsafe: () => time.currentTimeNanosUnsafe(),
      monotonicTimeNanosUnsafe: () => BigInt(Math.round(this.#monotonic() * NANOS_PER_MILLI)),
      monotonicTimeNanos: Effect.sync(() => BigInt(Math.round(this.#monotonic() * NANOS_PER_MILLI))),
      sleep: (duration) => this.#sleep(Duration.toMillis(duration))
    }
  }

  readonly uptime = (): number => Math.floor((this.#now() * this.#rate) / GRAIN) * GRAIN

  get runs(): boolean {
    return !this.#dead && !this.#frozen && this.#suspendedAt === undefined
  }

  get isSuspended(): boolean {
    return this.#suspendedAt !== undefined
  }

  freeze(): void {
    this.#frozen = true
    this.#update()
  }

  suspend(): void {
    this.#suspendedAt ??= this.#now()
    this.#update()
  }

  /** Its process ends without a last word. */
  kill(): void {
    this.#dead = true
    this.#update()
  }

  resume(): void {
    if (this.#suspendedAt !== undefined) this.#suspended += this.#now() - this.#suspendedAt
    this.#suspendedAt = undefined
    this.#frozen = false
    this.#update()
  }

  #update(): void {
    if (this.runs) this.#running.openUnsafe()
    else this.#running.closeUnsafe()
  }

  #now(): number {
    return Number(this.#time.monotonicTimeNanosUnsafe()) / NANOS_PER_MILLI
  }

  #monotonic(): number {
    return ((this.#suspendedAt ?? this.#now()) - this.#suspended) * this.#rate
  }

  #sleep(millis: number): Effect.Effect<void> {
    if (!Number.isFinite(millis)) return Effect.never
    return Effect.suspend(() => {
      const end = this.#monotonic() + millis
      // A suspend moves the end away: what is left is slept again.
      const wait: Effect.Effect<void> = Effect.suspend(() => {
        if (!this.runs) return Effect.andThen(this.#running.await, wait)
        const left = (end - this.#monotonic()) / this.#rate
        if (left <= 1e-6) return Effect.void
        this.#agenda.add(this.#now() + left)
        return Effect.andThen(this.#time.sleep(Duration.millis(left)), wait)
      })
      return wait
    })
  }
}
