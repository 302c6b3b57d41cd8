/**
 * A scheduler that knows when nothing is left to run: it counts the tasks that
 * wait, so that a test waits for exactly as long as the server has work, be it
 * one turn of the event loop or a thousand. It runs nothing itself.
 *
 * Invariant: while a fiber on this scheduler can go on, a task waits here or a
 * microtask does. What is due elsewhere (a thread, a real timer, a socket) is
 * out of its sight.
 */
import { Effect, type Fiber, Scheduler } from "effect"

type Turn = (resume: () => void) => unknown

export class IdleScheduler implements Scheduler.Scheduler {
  readonly executionMode: "sync" | "async"
  readonly #parent: Scheduler.Scheduler
  readonly #turn: Turn
  #waiting = 0
  #scheduled = 0

  /** @param turn calls back after all tasks that the parent has now, and all microtasks */
  constructor(parent: Scheduler.Scheduler, turn: Turn = parent instanceof IdleScheduler ? parent.#turn : setImmediate) {
    this.#parent = parent
    this.#turn = turn
    this.executionMode = parent.executionMode
  }

  shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    return this.#parent.shouldYield(fiber)
  }

  makeDispatcher(): Scheduler.SchedulerDispatcher {
    const dispatcher = this.#parent.makeDispatcher()
    return {
      scheduleTask: (task, priority) => {
        this.#waiting++
        this.#scheduled++
        dispatcher.scheduleTask(() => {
          this.#waiting--
          task()
        }, priority)
      },
      flush: () => dispatcher.flush()
    }
  }

  /** Resolves when no task waits, and a whole turn of the event loop, microtasks included, has scheduled none. */
  async idle(): Promise<void> {
    for (let before = -1; this.#waiting > 0 || before !== this.#scheduled; ) {
      before = this.#scheduled
      await new Promise<void>((resolve) => this.#turn(resolve))
    }
  }
}

/** Runs the effect, and what it forks, on an `IdleScheduler`. */
export const onIdleScheduler = <A, E, R>(effect: Effect.Effect<A, E, R>, turn?: Turn): Effect.Effect<A, E, R> =>
  Effect.flatMap(Scheduler.Scheduler, (parent) =>
    Effect.provideService(effect, Scheduler.Scheduler, new IdleScheduler(parent, turn))
  )

/**
 * Waits until everything on this scheduler has done all that it can do without time passing. It says nothing to a
 * server: a `PING` of each client would count for its heartbeat, end its half line, and bring out a `RANK` before it
 * is due; an unauthenticated client, or one that waits, would not even get its `PONG`.
 */
export const settled: Effect.Effect<void> = Effect.withFiber((fiber) => {
  const scheduler = fiber.getRef(Scheduler.Scheduler)
  return scheduler instanceof IdleScheduler
    ? Effect.promise(() => scheduler.idle())
    : Effect.die(new Error("not on an IdleScheduler"))
})
