/** Processes for the commands that run some: none outlives this process, however it ends, but by SIGKILL. */
import { Effect, Layer } from "effect"
import { ChildProcessSpawner } from "effect/process"

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
  /** The terminal was closed. */
  const hangUp = () => process.kill(process.pid, "SIGTERM")
  yield* Effect.acquireRelease(
    Effect.sync(() => process.on("exit", killAll).on("SIGHUP", hangUp)),
    () => Effect.sync(() => process.off("exit", killAll).off("SIGHUP", hangUp))
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
