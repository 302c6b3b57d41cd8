/** Kinds of flags that several commands have. */
import { Config, type Option, Schema, SchemaTransformation } from "effect"
import { CliError, Flag } from "effect/cli"

/** A flag, or else an environment variable, that is a whole number within bounds. */
export const whole = (name: string, variable: string, minimum: number, maximum: number): Flag.Flag<number> => {
  const expected = `a whole number from ${minimum} to ${maximum}`
  const schema = Schema.String.check(Schema.isPattern(/^[0-9]+$/, { expected })).pipe(
    Schema.decodeTo(
      Schema.Number.check(Schema.isBetween({ minimum, maximum }, { expected })),
      SchemaTransformation.numberFromString
    )
  )
  return Flag.String(name).pipe(
    Flag.withMetavar("number"),
    Flag.filterMap(Schema.decodeOption(schema), () => expected),
    Flag.withFallbackConfig(Config.schema(schema, variable))
  )
}

/** A flag, or else an environment variable, that is the path of a file; whether it is of any use shows when it is read. */
export const file = (name: string, variable: string): Flag.Flag<Option.Option<string>> =>
  Flag.File(name).pipe(
    Flag.withMetavar("file"),
    Flag.withFallbackConfig(Config.NonEmptyString(variable)),
    Flag.optional
  )

/** What is wrong with a flag's value, where only the command itself can tell. */
export const invalid = (command: string, option: string, value: string, expected: string): CliError.ShowHelp =>
  new CliError.ShowHelp({
    commandPath: ["rankd", command],
    errors: [new CliError.InvalidValue({ kind: "flag", option, value, expected })]
  })
