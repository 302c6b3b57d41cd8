/** The command line as a whole: `rankd` and its subcommands. A bare `rankd` serves. */
import { Cause, Console, Effect, Exit, Layer, Logger, Runtime } from "effect"
import { CliConfig, CliError, CliOutput, Command, GlobalFlag } from "effect/cli"
import packageJson from "../../package.json" with { type: "json" }
import * as Agent from "./agent.ts"
import * as Connect from "./connect.ts"
import * as Lead from "./lead.ts"
import * as Ranks from "./ranks.ts"
import * as Serve from "./serve.ts"
import { printable } from "./terminal.ts"
import * as Token from "./token.ts"
import * as Watch from "./watch.ts"

const command = Command.make("rankd", Serve.flags, Serve.run).pipe(
  Command.withDescription("Ranks the clients that connect, in order of arrival; each may command those below it"),
  Command.withExamples(Serve.examples),
  Command.withSubcommands([
    Serve.command,
    Connect.command,
    Agent.command,
    Lead.command,
    Ranks.command,
    Watch.command,
    Token.command
  ])
)

/** `effect/cli` says of an environment variable only that "config" is no value of the flag. */
const describe = (error: CliError.CliError): string => {
  const variable = /Expected: SchemaError\((.*)\n {2}at \["(\w+)"\]\)/.exec(error.message)
  return variable === null ? error.message : `Invalid value of ${variable[2]}. ${variable[1]}`
}

/** What is wrong with the arguments, and where to read on; the whole help would bury it. */
const presenter: CliOutput.Presenter = {
  present: (event) => {
    if (event._tag !== "InvalidInvocation") return CliOutput.defaultPresenter.present(event)
    const lines = [
      ...event.errors.map((error) => `rankd: ${describe(error)}`),
      `usage: ${event.helpDoc.usage}`,
      `Try: ${event.commandPath.join(" ")} --help`
    ]
    return Console.error(lines.join("\n"))
  }
}

/** Runs what the arguments say. */
export const run = Command.run(command, { version: packageJson.version }).pipe(
  Effect.tapErrorTag(["StartError", "Unusable", "NoServer", "NotRun"], (error) =>
    Console.error(`rankd: ${error.message}`)
  ),
  Effect.provide(
    Layer.mergeAll(
      // Standard output is for what was asked for.
      Logger.layer([Logger.withConsoleError(Logger.map(Logger.formatLogFmt, printable))]),
      CliOutput.layerPresenter(presenter),
      // `--log-level` is the server's own, with an environment variable and a default.
      CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] })
    )
  )
)

/** EX_USAGE is 64, but every shell and most commands say 2. */
const USAGE_ERROR = 2

/** The exit status: a signal is the ordinary way to end a server, so it counts as success. */
export const teardown: Runtime.Teardown = (exit, onExit) => {
  if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) return onExit(0)
  if (Exit.isFailure(exit) && CliError.isCliError(Cause.squash(exit.cause))) return onExit(USAGE_ERROR)
  return Runtime.defaultTeardown(exit, onExit)
}
