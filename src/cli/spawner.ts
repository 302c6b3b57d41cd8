/** Runs processes for `agent` and `lead`. None outlives this process, unless a signal ends it that cannot be caught. */
import { Effect, Layer } from "effect"
import { ChildProcessSpawner } from "effect/process"
import { stopOn } from "./signals.ts"

/** More signals that would end this process at once, and that somebody may send. */
const ENDING = ["SIGQUIT", "SIGABRT", "SIGALRM", "SIGUSR2", "SIGVTALRM", "SIGXCPU"] as const

const make = Effect.gen(function* () {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const running = new Set<number>()
  const killAll = () => {
    for (const pid of running) {
      try {
        process.kill(-pid, "SIGKILL")
      } catch {
        // It has ended already.
      }
    }
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => process.on("exit", killAll)),
    () => Effect.sync(() => process.off("exit", killAll))
  )
  yield* stopOn(ENDING)
  return ChildProcessSpawner.make((command) =>
    Effect.gen(function* () {
      let pid: number | undefined
      // Released after the spawner has ended the process.
      yield* Effect.addFinalizer(() => Effect.sync(() => pid !== undefined && running.delete(pid)))
      const handle = yield* spawner.spawn(command)
      pid = handle.pid
      running.add(pid)
      return handle
    })
  )
})

export const layer = Layer.effect(ChildProcessSpawner.ChildProcessSpawner, make)
