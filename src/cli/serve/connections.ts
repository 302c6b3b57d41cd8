/** How many connections the server takes: as many as the flags ask for, and the limit of open files allows. */
import { Effect, Option } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { defaults } from "../../server/Settings.ts"
import type { Options } from "./flags.ts"

/** Files that the process opens beside its connections. */
const OWN_FILES = 32

/** How many connections the process can have open; NaN where there is no shell to ask, as on Windows. */
const possibleConnections = Effect.gen(function* () {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const limit = yield* spawner.string(ChildProcess.make("sh", ["-c", "ulimit -n"]))
  return Number(limit) - OWN_FILES
}).pipe(Effect.orElseSucceed(() => Number.NaN))

/** The limits on connections. Warns when they are lower than the flags ask for. */
export const connectionLimits = Effect.fnUntraced(function* (options: Options) {
  const { maxClients } = options
  const possible = yield* possibleConnections
  const wanted = Option.getOrElse(options.maxConnections, () => Math.max(defaults.maxConnections, maxClients))
  const maxConnections = possible < wanted ? Math.max(1, possible) : wanted
  const needed = Option.getOrElse(options.maxConnections, () => maxClients)
  if (maxConnections < needed) {
    yield* Effect.logWarning(
      `the limit of open files (ulimit -n) is ${possible + OWN_FILES}: the server takes at most ${maxConnections} connections, ` +
        `not ${needed}. Raise the limit, or lower --max-clients and --max-connections`
    )
  }
  return {
    maxClients: Math.min(maxClients, maxConnections),
    maxConnections,
    maxConnectionsPerAddress: Option.getOrElse(options.maxConnectionsPerAddress, () => maxConnections)
  }
})
