/**
 * A scheduler that knows when nothing is left to run: it counts the tasks that
 * wait, so that a test waits for exactly as long as the server has work, be it
 * one turn of the event loop or a thousand. It runs nothing itself.
 *
 * Invariant: while a fiber on this scheduler can go on, a task waits here or a
 * microtask does. What is due elsewhere (a thread, a real timer, a socket) is
 * out of its sight.
 */
import type { Fiber, Scheduler } from "effect"

export class IdleScheduler implements Scheduler.Scheduler {
  readonly executionMode: "sync" | "async"
  readonly #parent: Scheduler.Scheduler
  #waiting = 0
  #scheduled = 0

  constructor(parent: Scheduler.Scheduler) {
    this.#parent = parent
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
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}
