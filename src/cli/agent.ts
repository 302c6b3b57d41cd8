/** `rankd agent`: executes what reaches it, as far as its policy goes; without one it only prints. */
import { Console, Duration, Effect, FileSystem, Option, Result } from "effect"
import { Command, Flag } from "effect/cli"
import * as Agent from "../agent/Agent.ts"
import * as Policy from "../agent/Policy.ts"
import type { Ended, IncomingCommand } from "../client/Executor.ts"
import { RankClient } from "../client/RankClient.ts"
import * as Connection from "./connection.ts"
import { invalid, whole } from "./flags.ts"
import * as Spawner from "./spawner.ts"
import { json, printable, printBounded } from "./terminal.ts"

/** The time is less than that of a server's, which would end the command as `timeout` and drop its outcome. */
export const defaults = { timeout: 50, maxOutput: 65_536, maxRunning: 16 }

/** Beyond these a typing error is likelier than a need. */
const MAX_TIMEOUT_SECONDS = 604_800
const MAX_OUTPUT_BYTES = 16_777_216
const MAX_RUNNING = 10_000

const flags = {
  ...Connection.flags,
  allow: Flag.String("allow").pipe(
    Flag.withMetavar("pattern"),
    Flag.filterMap(
      (text) => Result.getSuccess(Policy.pattern(text)),
      (text) => Result.getOrElse(Result.flip(Policy.pattern(text)), () => "")
    ),
    Flag.atLeast(0),
    Flag.withDescription("Run commands like this one, as 'systemctl restart app-*'; may be given several times")
  ),
  policy: Flag.File("policy", { mustExist: true }).pipe(
    Flag.withMetavar("file"),
    Flag.optional,
    Flag.withDescription("Run commands like those in this file, a pattern a line")
  ),
  cwd: Flag.Directory("cwd", { mustExist: true }).pipe(
    Flag.withDefault("."),
    Flag.withDescription("Folder that commands run in (where the agent is started)")
  ),
  timeout: whole("timeout", "RANKD_AGENT_TIMEOUT", 1, MAX_TIMEOUT_SECONDS).pipe(
    Flag.withDefault(defaults.timeout),
    Flag.withDescription(`Seconds that a command may run (RANKD_AGENT_TIMEOUT; ${defaults.timeout})`)
  ),
  maxOutput: whole("max-output", "RANKD_AGENT_MAX_OUTPUT", 0, MAX_OUTPUT_BYTES).pipe(
    Flag.withDefault(defaults.maxOutput),
    Flag.withDescription(
      `Bytes of a command's output that are passed on (RANKD_AGENT_MAX_OUTPUT; ${defaults.maxOutput})`
    )
  ),
  maxRunning: whole("max-running", "RANKD_AGENT_MAX_RUNNING", 1, MAX_RUNNING).pipe(
    Flag.withDefault(defaults.maxRunning),
    Flag.withDescription(
      `Commands that run at once; a further one is busy (RANKD_AGENT_MAX_RUNNING; ${defaults.maxRunning})`
    )
  )
}

interface Options extends Connection.Connecting {
  readonly allow: ReadonlyArray<Policy.Pattern>
  readonly policy: Option.Option<string>
  readonly cwd: string
  readonly timeout: number
  readonly maxOutput: number
  readonly maxRunning: number
}

const readPolicy = Effect.fnUntraced(function* (path: string) {
  const { readFileString } = yield* FileSystem.FileSystem
  const text = yield* Effect.mapError(readFileString(path), ({ message }) => invalid("agent", "policy", path, message))
  return yield* Effect.mapError(Effect.fromResult(Policy.file(text)), (wrong) =>
    invalid("agent", "policy", path, wrong)
  )
})

/** What an agent does that nothing is allowed to: it says so, to its own terminal and to who asked. */
const print = ({ command }: IncomingCommand): Effect.Effect<Ended> =>
  Effect.succeed({ status: 0, output: `executed: ${command}` })

const line = ({ command }: IncomingCommand, status: Ended["status"] | "cancelled", ran: boolean): string => {
  if (typeof status !== "number") return `${status}: ${printable(command)}`
  return `executed: ${printable(command)}${ran ? ` (${status})` : ""}`
}

const run = Effect.fnUntraced(
  function* (options: Options) {
    const { allow, cwd, maxOutput, maxRunning, policy } = options
    const fromFile = Option.isSome(policy) ? yield* readPolicy(policy.value) : []
    const runs = allow.length > 0 || Option.isSome(policy)
    const execute = runs
      ? yield* Agent.make({
          allow: [...allow, ...fromFile],
          cwd,
          timeout: Duration.seconds(options.timeout),
          maxOutput,
          maxRunning
        })
      : print
    const tell = (order: IncomingCommand, status: Ended["status"] | "cancelled", truncated = false) =>
      printBounded(
        options.json
          ? json({ from: order.from, command: order.command, status, ...(truncated ? { truncated } : {}) })
          : line(order, status, runs)
      )
    if (!runs) yield* Console.error("rankd: this agent runs nothing, it only prints. Let it run commands with --allow")
    const handler = (order: IncomingCommand) =>
      execute(order).pipe(
        Effect.tap(({ status, truncated }) => tell(order, status, truncated)),
        Effect.onInterrupt(() => tell(order, "cancelled"))
      )
    return yield* Effect.gen(function* () {
      yield* Connection.notices(options, yield* RankClient)
      return yield* Effect.never
    }).pipe(Effect.scoped, Effect.provide(Connection.layer(options, handler)))
  },
  // Outermost, so that it sees the end of all that is run.
  Effect.provide(Spawner.layer)
)

export const command = Command.make("agent", flags, run).pipe(
  Command.withDescription(
    "Execute what reaches this client: what --allow or --policy allows; without them, only print it"
  ),
  Command.withExamples([
    { command: "rankd agent --name worker --allow uptime --allow 'df -h'", description: "Run two commands, no others" },
    { command: "rankd agent --policy commands.txt --timeout 600", description: "Run what a file allows" }
  ])
)
