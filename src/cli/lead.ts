/** `rankd lead -- <command>`: runs a command on one of several machines, and on the next one when that one fails. */
import { Console, Duration, Effect, SubscriptionRef } from "effect"
import { Argument, Command } from "effect/cli"
import { ChildProcessSpawner } from "effect/process"
import * as Program from "../agent/Program.ts"
import { unstartable } from "../agent/unstartable.ts"
import { whileLeader } from "../client/Leader.ts"
import { RankClient } from "../client/RankClient.ts"
import * as Client from "./connection/client.ts"
import { ExitStatus, NotRun } from "./connection/failures.ts"
import { type Connecting, flags } from "./connection/flags.ts"
import { notices } from "./connection/notices.ts"
import { say } from "./say.ts"
import { reloadOnHangup } from "./signals.ts"
import * as Spawner from "./spawner.ts"
import { json } from "./terminal/text.ts"

/** How long the command has to end after SIGTERM: less than half a heartbeat, after which the next may lead. */
const GRACE = Duration.seconds(2)

/** Runs the command with the leader's rank, epoch and member id in its environment. Succeeds with how it ended. */
const execute = Effect.fnUntraced(function* (argv: ReadonlyArray<string>, epoch: number, member: string) {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  // It leads a process group of its own: the whole group gets the signal when the scope closes.
  const cwd = process.cwd()
  const problem = yield* unstartable(argv[0]!, cwd, process.env.PATH ?? "")
  if (problem !== undefined) return yield* Effect.fail(problem.reason)
  const program = yield* Program.start(spawner, argv, {
    cwd,
    env: { RANKD_RANK: "0", RANKD_EPOCH: `${epoch}`, RANKD_MEMBER: member },
    extendEnv: true,
    killDelay: GRACE,
    stdio: "inherit"
  })
  return yield* program.exit
}, Effect.scoped)

const run = Effect.fnUntraced(
  function* (options: Connecting & { readonly command: ReadonlyArray<string> }) {
    yield* reloadOnHangup(say(options.json, "Notice", "nothing to reload"))
    const ranks = yield* RankClient
    const file = options.command[0]!
    yield* notices(options, ranks)
    const { signal, status } = yield* whileLeader((epoch) =>
      execute(options.command, epoch, SubscriptionRef.getUnsafe(ranks.standing)?.member ?? "")
    ).pipe(Effect.mapError((reason) => new NotRun({ message: `cannot run ${file}: ${reason}` })))
    if (signal !== undefined) {
      yield* Console.error(
        options.json ? json({ _tag: "Ended", status, signal }) : `rankd: ended by ${signal}: ${file}`
      )
    }
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
