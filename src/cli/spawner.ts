/**
 * Runs processes for `agent` and `lead`, each as the first of a process group, and ends these groups. No group outlives this
 * process, unless a signal ends it that cannot be caught: see `lead/Watchdog.ts`.
 */
import { readdirSync, readFileSync } from "node:fs"
import { Duration, Effect, Layer } from "effect"
import { type ChildProcess, ChildProcessSpawner } from "effect/process"
import { stopOn } from "./signals.ts"

/** Signals that would end this process at once, and that somebody may send. */
const ENDING = ["SIGQUIT", "SIGABRT", "SIGALRM", "SIGUSR2", "SIGVTALRM", "SIGXCPU"] as const

/** How often to look whether a group has ended, in milliseconds. */
const LOOK = 10

/** Looks at the group between two looks at the processes in it. */
const LOOKS = 5

/** How long what SIGKILL ends may take to end. A process may wait for a device, and then longer than anyone can. */
const KILLED_WITHIN = Duration.seconds(1)

const signalGroup = (group: number, signal: NodeJS.Signals | 0): boolean => {
  try {
    return process.kill(-group, signal)
  } catch {
    return false
  }
}

/** Whether all processes of the group have ended, and only wait for a parent to take notice: in a container it may never. */
const onlyZombies = (group: number): boolean => {
  try {
    return readdirSync("/proc").every((name) => {
      if (!/^\d+$/.test(name)) return true
      try {
        // The name of the program may contain anything, but ends at the last parenthesis.
        const [state, , itsGroup] = readFileSync(`/proc/${name}/stat`, "latin1").split(") ").at(-1)?.split(" ") ?? []
        return Number(itsGroup) !== group || state === "Z" || state === "X"
      } catch {
        return true
      }
    })
  } catch {
    return false
  }
}

/** Waits until no process of the group runs. */
const groupEnd = (group: number) =>
  Effect.gen(function* () {
    for (let look = 1; signalGroup(group, 0); look++) {
      if (look % LOOKS === 0 && onlyZombies(group)) return
      yield* Effect.sleep(LOOK)
    }
  })

/** Ends a group: with a signal, and with SIGKILL when the time after that is over. */
const endGroup = (group: number) =>
  Effect.fnUntraced(function* ({ forceKillAfter, killSignal = "SIGTERM" }: ChildProcess.KillOptions = {}) {
    signalGroup(group, killSignal)
    // A stopped process gets the signal when it continues.
    signalGroup(group, "SIGCONT")
    if (forceKillAfter !== undefined) {
      const ended = yield* Effect.timeoutOption(groupEnd(group), forceKillAfter)
      if (ended._tag === "Some") return
      signalGroup(group, "SIGKILL")
    }
    yield* Effect.timeoutOption(groupEnd(group), KILLED_WITHIN)
  })

const make = Effect.gen(function* () {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const running = new Set<number>()
  const killAll = () => {
    for (const group of running) signalGroup(group, "SIGKILL")
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => process.on("exit", killAll)),
    () => Effect.sync(() => process.off("exit", killAll))
  )
  yield* stopOn(ENDING)
  return ChildProcessSpawner.make((command) =>
    Effect.gen(function* () {
      const handle = yield* spawner.spawn(command)
      const kill = endGroup(handle.pid)
      running.add(handle.pid)
      yield* Effect.addFinalizer(() =>
        Effect.andThen(
          kill({ killSignal: "SIGKILL" }),
          Effect.sync(() => running.delete(handle.pid))
        )
      )
      // The finalizer of the spawner itself waits for zombies.
      yield* handle.unref
      return ChildProcessSpawner.makeHandle({ ...handle, kill })
    })
  )
})

export const layer = Layer.effect(ChildProcessSpawner.ChildProcessSpawner, make)
