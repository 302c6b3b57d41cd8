/** Processes for the commands that run some: none outlives this process, but by a signal that cannot be caught. */
import { Effect, Layer } from "effect"
import { ChildProcessSpawner } from "effect/process"

/** What would end this process at once: SIGHUP, for the terminal was closed, and others that somebody may send. */
const ENDING = ["SIGHUP", "SIGQUIT", "SIGABRT", "SIGALRM", "SIGUSR2", "SIGVTALRM", "SIGXCPU"] as const

const makeSpawner = Effect.gen(function* () {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const running = new Set<number>()
  const killAll = () => {
    for (const pid of running) {
      try {
        process.kill(-pid, "SIGKILL")
      } catch {
        // It has ended.
      }
    }
  }
  const end = () => process.kill(process.pid, "SIGTERM")
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      process.on("exit", killAll)
      for (const signal of ENDING) process.on(signal, end)
    }),
    () =>
      Effect.sync(() => {
        process.off("exit", killAll)
        for (const signal of ENDING) process.off(signal, end)
      })
  )
  return ChildProcessSpawner.make((command) =>
    Effect.gen(function* () {
      let pid: number | undefined
      // Released after the spawner has done all that it does to end the process.
      yield* Effect.addFinalizer(() => Effect.sync(() => pid !== undefined && running.delete(pid)))
      const handle = yield* spawner.spawn(command)
      pid = handle.pid
      running.add(pid)
      return handle
    })
  )
})

export const layer = Layer.effect(ChildProcessSpawner.ChildProcessSpawner, makeSpawner)
