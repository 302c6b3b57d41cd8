/** What is wrong with the arguments, in a line or two, and where to find help. The whole help would bury it. */
import { Console, Effect } from "effect"
import { type CliError, CliOutput } from "effect/cli"
import { say } from "./say.ts"

const suggestion = ([first, ...others]: ReadonlyArray<string>): string =>
  first === undefined ? "" : `. Did you mean ${[first, ...others].join(" or ")}?`

/** Only what `effect/cli` itself judges: the values of choices and switches. `flags/` words the rest. */
const invalidValue = ({ expected, kind, option, value }: CliError.InvalidValue): string => {
  const name = kind === "flag" ? `--${option}` : option
  const times = /^(\d+) occurrences$/.exec(value)
  if (times !== null) return `${name} appears ${times[1]} times. Give it once`
  if (value === "") return `${name} needs a value`
  const words = expected
    .replace(/^Expected:? /, "")
    .replaceAll('"', "")
    .split(" | ")
  return `${name} ${value}: not ${words.length === 1 ? words[0] : `one of ${words.join(", ")}`}`
}

const describe = (error: CliError.NonShowHelpErrors): string => {
  switch (error._tag) {
    case "UnrecognizedOption":
      return `unknown flag ${error.option}${suggestion(error.suggestions)}`
    case "UnknownSubcommand":
      return `unknown command ${error.subcommand}${suggestion(error.suggestions)}`
    case "UnexpectedArgument":
      return `unexpected ${error.arguments.join(" ")}`
    case "MissingArgument":
      return `missing <${error.argument}>`
    case "InvalidValue":
      return invalidValue(error)
    default:
      return error.message
  }
}

/** The value of an unknown flag looks like a command or an argument: only the flag is wrong. */
const causes = (errors: ReadonlyArray<CliError.NonShowHelpErrors>) => {
  const flags = errors.filter(({ _tag }) => _tag === "UnrecognizedOption")
  return flags.length === 0 ? errors : flags
}

/** With `json`, an object for each error; the rest is for people. */
export const presenter = (json: boolean): CliOutput.Presenter => ({
  present: (event) => {
    if (event._tag !== "InvalidInvocation") return CliOutput.defaultPresenter.present(event)
    const said = Effect.forEach(causes(event.errors), (error) => say(json, "Failed", describe(error)), {
      discard: true
    })
    const help = Console.error(`usage: ${event.helpDoc.usage}\nTry: ${event.commandPath.join(" ")} --help`)
    return json ? said : Effect.andThen(said, help)
  }
})
