/** `rankd lead -- <command>`: runs a command on one of several machines, and on the next when that one is gone. */
import { constants } from "node:os"
import { Effect, type PlatformError, SubscriptionRef } from "effect"
import { Argument, Command } from "effect/cli"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { whileLeader } from "../client/Leader.ts"
import { RankClient } from "../client/RankClient.ts"
import * as Connection from "./connection.ts"
import * as Spawner from "./spawner.ts"

/** How long the command has to end when it is told to: less than half a heartbeat, after which the next may lead. */
const GRACE = "2 seconds"

/** What a shell has for the status of a command that a signal ended. The spawner tells of the signal in words alone. */
const statusOfSignal = ({ reason }: PlatformError.PlatformError): number => {
  const signal = /'(SIG\w+)'/.exec(`${reason.cause}`)?.[1] as NodeJS.Signals | undefined
  return 128 + (signal === undefined ? 0 : constants.signals[signal])
}

/** Runs it with the leader's rank, epoch and member id in its environment; succeeds with its exit status. */
const execute = Effect.fnUntraced(function* (file: string, args: ReadonlyArray<string>, epoch: number, member: string) {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  // It is the leader of a process group of its own, which is what is signalled when the scope closes.
  const process = yield* spawner.spawn(
    ChildProcess.make(file, args, {
      env: { RANKD_RANK: "0", RANKD_EPOCH: `${epoch}`, RANKD_MEMBER: member },
      extendEnv: true,
      stdin: "inherit",
      stdout: "inherit",
      stderr: "inherit",
      killSignal: "SIGTERM",
      forceKillAfter: GRACE
    })
  )
  return yield* Effect.catchTag(process.exitCode, "PlatformError", (error) => Effect.succeed(statusOfSignal(error)))
}, Effect.scoped)

const run = Effect.fnUntraced(
  function* (options: Connection.Connecting & { readonly command: ReadonlyArray<string> }) {
    const ranks = yield* RankClient
    const [file, ...args] = options.command as [string, ...Array<string>]
    yield* Connection.notices(options, ranks)
    const status = yield* whileLeader((epoch) =>
      execute(file, args, epoch, SubscriptionRef.getUnsafe(ranks.standing)?.member ?? "")
    ).pipe(
      Effect.catchTag("PlatformError", (error) =>
        Effect.fail(new Connection.NotRun({ message: `cannot run ${file}: ${error.reason._tag}` }))
      )
    )
    if (status !== 0) return yield* new Connection.ExitStatus({ status })
  },
  Effect.scoped,
  (effect, options) => Effect.provide(effect, Connection.layer(options)),
  // Outermost, so that it sees the end of all that is run.
  Effect.provide(Spawner.layer)
)

export const command = Command.make(
  "lead",
  {
    ...Connection.flags,
    command: Argument.String("command").pipe(
      Argument.variadic({ min: 1 }),
      Argument.withDescription("The command and its arguments, after --")
    )
  },
  run
).pipe(
  Command.withDescription("Run a command while this client is rank 0, and end with its exit status"),
  Command.withExamples([
    { command: "rankd lead --name $HOSTNAME -- ./backup.sh", description: "Run on one of the machines that run this" }
  ])
)
