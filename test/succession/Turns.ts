/**
 * Runs the tasks of a simulation. They wait for no event of Node: a turn of its event loop for each would take most of
 * the time.
 *
 * Invariant: tasks that lead to tasks without end, while no time passes, are dropped; `onEndless` hears of it once.
 */
import { Scheduler } from "effect"

/** As on Node's event loop, a task runs after the microtasks of the ones before it. */
const afterMicrotasks = (task: () => void): void => queueMicrotask(() => process.nextTick(task))

/** Turns in which everything that is due at one moment has run. */
const MOST = 1000

export class Turns {
  readonly scheduler: Scheduler.Scheduler
  #count = 0

  constructor(onEndless: () => void) {
    this.scheduler = new Scheduler.MixedScheduler("async", (task) => {
      let isCancelled = false
      afterMicrotasks(() => {
        if (isCancelled || ++this.#count > MOST) return
        if (this.#count === MOST) onEndless()
        else task()
      })
      return () => {
        isCancelled = true
      }
    })
  }

  /** Calls back after all tasks that wait, and all microtasks. */
  readonly next = (resume: () => void): void => {
    if (this.#count < MOST) afterMicrotasks(resume)
  }

  /** Time passes. */
  pass(): void {
    this.#count = 0
  }
}
