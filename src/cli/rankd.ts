/** The command line as a whole: `rankd` and its subcommands. A bare `rankd` serves. */
import { Cause, Effect, Exit, Layer, Logger, Runtime } from "effect"
import { Argument, CliConfig, CliError, CliOutput, Command, GlobalFlag } from "effect/cli"
import { Stdio } from "effect/Stdio"
import packageJson from "../../package.json" with { type: "json" }
import * as Agent from "./agent.ts"
import * as Connect from "./connect/connect.ts"
import { requireWritten } from "./connection/output.ts"
import { Variables } from "./flags/rows.ts"
import * as Lead from "./lead.ts"
import { stdout } from "./output/output.ts"
import * as Ranks from "./ranks.ts"
import { asksForJson, say } from "./say.ts"
import * as Serve from "./serve/serve.ts"
import { json, printable } from "./terminal/text.ts"
import * as Token from "./token.ts"
import { presenter } from "./usage.ts"
import * as Watch from "./watch.ts"

/** Listed, and known to completions; `withHelpFlag` does what it says. */
const help = Command.make("help", { command: Argument.optional(Argument.String("command")) }).pipe(
  Command.withDescription("Print the help of a command")
)

const commands = [
  Serve.command,
  Connect.command,
  Agent.command,
  Lead.command,
  Ranks.command,
  Watch.command,
  Token.command,
  help
] as const

const root = Serve.named("rankd").pipe(
  Command.withDescription("Rank clients in order of arrival. Each client may command those below it"),
  Command.withSubcommands(commands)
)

/** `help serve` is `serve --help`, and `help` is `--help`. A name that is no command stays alone, and is an error. */
const withHelpFlag = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const [first, name] = args
  if (first !== "help" || name?.startsWith("-")) return args
  if (name === undefined) return ["--help"]
  return commands.some((command) => command.name === name) ? [name, "--help"] : [name]
}

const runWith = Command.runWith(root, { version: packageJson.version })

const services = (asJson: boolean) => {
  const formatted = asJson ? Logger.map(Logger.formatStructured, json) : Logger.map(Logger.formatLogFmt, printable)
  return Layer.mergeAll(
    // Standard output is for results.
    Logger.layer([Logger.withConsoleError(formatted)]),
    CliOutput.layerPresenter(presenter(asJson)),
    // The server has a `--log-level` of its own, with an environment variable and a default.
    CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] })
  )
}

/** Runs what the arguments say. */
export const run = Effect.gen(function* () {
  const args = yield* (yield* Stdio).args
  const asJson = asksForJson(args)
  const exit = yield* runWith(withHelpFlag(args)).pipe(
    Effect.andThen(stdout.drained),
    Effect.andThen(requireWritten(stdout)),
    Effect.tapErrorTag(["StartError", "Unusable", "NoServer", "NotRun", "NotWritten"], ({ message }) =>
      say(asJson, "Failed", message)
    ),
    Effect.provide(services(asJson)),
    Effect.provideService(Variables, new Map()),
    Effect.exit
  )
  // What it was asked to print waits for its reader. A signal ends the wait.
  yield* stdout.drained
  return yield* exit
})

/** EX_USAGE is 64, but every shell and most commands exit with 2. */
const USAGE_ERROR = 2

/** The exit status. A signal is the usual way to stop a server, so it counts as success. */
export const teardown: Runtime.Teardown = (exit, onExit) => {
  if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) return onExit(0)
  if (Exit.isFailure(exit) && CliError.isCliError(Cause.squash(exit.cause))) return onExit(USAGE_ERROR)
  return Runtime.defaultTeardown(exit, onExit)
}
