/** `rankd lead -- <command>`: runs a command on one of several machines, and on the next one when that one fails. */
import { constants } from "node:os"
import { Effect, type PlatformError, SubscriptionRef } from "effect"
import { Argument, Command } from "effect/cli"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { whileLeader } from "../client/Leader.ts"
import { RankClient } from "../client/RankClient.ts"
import * as Client from "./connection/client.ts"
import { ExitStatus, NotRun } from "./connection/failures.ts"
import { type Connecting, flags } from "./connection/flags.ts"
import { notices } from "./connection/notices.ts"
import * as Spawner from "./spawner.ts"

/** How long the command has to end after SIGTERM: less than half a heartbeat, after which the next may lead. */
const GRACE = "2 seconds"

/** The status of a command that a signal ended, as a shell reports it. The spawner names the signal only in its message. */
const statusOfSignal = ({ reason }: PlatformError.PlatformError): number => {
  const signal = /'(SIG\w+)'/.exec(`${reason.cause}`)?.[1] as NodeJS.Signals | undefined
  return 128 + (signal === undefined ? 0 : constants.signals[signal])
}

/** Runs the command with the leader's rank, epoch and member id in its environment. Succeeds with its exit status. */
const execute = Effect.fnUntraced(function* (file: string, args: ReadonlyArray<string>, epoch: number, member: string) {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  // It leads a process group of its own: the whole group gets the signal when the scope closes.
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
  function* (options: Connecting & { readonly command: ReadonlyArray<string> }) {
    const ranks = yield* RankClient
    const [file, ...args] = options.command as [string, ...Array<string>]
    yield* notices(options, ranks)
    const status = yield* whileLeader((epoch) =>
      execute(file, args, epoch, SubscriptionRef.getUnsafe(ranks.standing)?.member ?? "")
    ).pipe(
      Effect.catchTag("PlatformError", (error) =>
        Effect.fail(new NotRun({ message: `cannot run ${file}: ${error.reason._tag}` }))
      )
    )
    if (status !== 0) return yield* new ExitStatus({ status })
  },
  Effect.scoped,
  (effect, options) => Effect.provide(effect, Client.layer(options)),
  // Outermost, so that it outlives every process.
  Effect.provide(Spawner.layer)
)

export const command = Command.make(
  "lead",
  {
    ...flags,
    command: Argument.String("command").pipe(
      Argument.variadic({ min: 1 }),
      Argument.withDescription("Command to run and its arguments, after --")
    )
  },
  run
).pipe(
  Command.withDescription("Run a command while this client has rank 0, and exit with its status"),
  Command.withExamples([
    {
      command: "rankd lead --name $HOSTNAME -- ./backup.sh",
      description: "Run this on several machines: one of them does the work"
    }
  ])
)
