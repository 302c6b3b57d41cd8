/**
 * How the command line gets a value: from a flag, else from an environment variable, else a default. A `Row` is all that
 * is known about one, so that the flag, its help and the table in the docs agree. An error names the flag or the variable,
 * the value, and what it should be; `usage.ts` prints it.
 */
import { Config, Context, Effect, Option } from "effect"
import { CliError, Flag } from "effect/cli"
import type { Kind, Source } from "./kinds.ts"

/** What is wrong with the arguments, as an error of the command line. */
export const invalid = (message: string): CliError.ValidationError => new CliError.ValidationError({ message })

/** Text as a person tells its ends. */
export const quoted = (text: string): string => (/^[^\s"]+$/.test(text) ? text : JSON.stringify(text))

const flagSource = (name: string, text: string): Source => ({
  name: `--${name}`,
  withValue: `--${name} ${quoted(text)}`
})

/** The variables that give values to flags, by the names of the flags: for errors that are found later. */
export class Variables extends Context.Reference<Map<string, Source>>("rankd/cli/flags/rows/Variables", {
  defaultValue: () => new Map()
}) {}

const readFlag = <A>(name: string, kind: Kind<A>, text: string) =>
  Effect.mapError(kind.read(text, flagSource(name, text)), invalid)

/** For a service called `rankd`, Kubernetes sets RANKD_PORT in every container of the namespace. */
const isServiceLink = (variable: string, text: string): boolean =>
  variable.endsWith("_PORT") && /^(?:tcp|udp|sctp):\/\/\S+:[0-9]+$/i.test(text)

const readVariable = Effect.fnUntraced(function* <A>(name: string, variable: string, kind: Kind<A>) {
  const text = yield* Effect.orDie(Config.option(Config.String(variable)))
  if (Option.isNone(text)) return Option.none<A>()
  if (isServiceLink(variable, text.value)) {
    yield* Effect.logWarning(`${variable}=${text.value} is the address of a service. It is ignored`)
    return Option.none<A>()
  }
  const source = { name: variable, withValue: `${variable}=${quoted(text.value)}` }
  ;(yield* Variables).set(name, source)
  return Option.some(yield* Effect.mapError(kind.read(text.value, source), invalid))
})

export interface Row<A> {
  readonly name: string
  readonly variable: string | undefined
  /** The default, for people. */
  readonly shown: string
  readonly help: string
  readonly flag: Flag.Flag<A>
}

interface RowOptions<A> {
  readonly name: string
  readonly kind: Kind<A>
  readonly variable?: string | undefined
  readonly shown?: string
  /** A sentence or two; code is in backticks. */
  readonly help: string
}

/** `max-clients` is `RANKD_MAX_CLIENTS` in the environment. */
export const withVariable = (name: string) => ({ name, variable: `RANKD_${name.replaceAll("-", "_").toUpperCase()}` })

/** The same without the marks of Markdown. */
const plain = (text: string): string => text.replaceAll("`", "")

const described = <A>(flag: Flag.Flag<A>, { variable, help, shown = "" }: Omit<RowOptions<A>, "kind">) => {
  const notes = [...(variable === undefined ? [] : [variable]), ...(shown === "" ? [] : [`default ${plain(shown)}`])]
  return Flag.withDescription(flag, plain(help) + (notes.length === 0 ? "" : ` (${notes.join(", ")})`))
}

const primitive = <A>({ kind, name }: RowOptions<A>): Flag.Flag<string> =>
  kind.metavar === undefined ? kind.flag(name) : Flag.withMetavar(kind.flag(name), kind.metavar)

/** A value that may be missing. */
export const optional = <A>(options: RowOptions<A>): Row<Option.Option<A>> => {
  const { help, kind, name, shown = "", variable } = options
  const flag = Flag.mapEffect(Flag.optional(primitive(options)), (text) => {
    if (Option.isSome(text)) return Effect.asSome(readFlag(name, kind, text.value))
    return variable === undefined ? Effect.succeedNone : readVariable(name, variable, kind)
  })
  return { name, variable, shown, help, flag: described(flag, options) }
}

/** A value with a default. */
export const withDefault = <A>(options: RowOptions<A>, value: A): Row<A> => {
  const { flag, ...row } = optional({ shown: `${value}`, ...options })
  return {
    ...row,
    flag: Flag.map(
      flag,
      Option.getOrElse(() => value)
    )
  }
}

/** A pattern that may be given several times. */
export const several = <A>(options: RowOptions<A>): Row<ReadonlyArray<A>> => {
  const { help, kind, name, shown = "", variable } = options
  const flag = Flag.atLeast(
    Flag.mapEffect(primitive(options), (text) => readFlag(name, kind, text)),
    0
  )
  return { name, variable, shown, help, flag: described(flag, options) }
}

type Rows = Readonly<Record<string, Row<unknown>>>

/** What the flags of these rows hold. */
export type ValuesOf<R extends Rows> = {
  readonly [Key in keyof R]: R[Key] extends Row<infer Value> ? Value : never
}

/** The flags of a command. */
export const flagsOf = <const R extends Rows>(rows: R) =>
  Object.fromEntries(Object.entries(rows).map(([key, { flag }]) => [key, flag])) as {
    readonly [Key in keyof R]: R[Key]["flag"]
  }

/** The table of these rows in the docs. */
export const markdown = (rows: Rows): string =>
  [
    "| flag | environment | default | meaning |",
    "| --- | --- | --- | --- |",
    ...Object.values(rows).map(
      ({ help, name, shown, variable }) =>
        `| \`--${name}\` | ${variable === undefined ? "" : `\`${variable}\` `}| ${shown === "" ? "" : `${shown} `}| ${help} |`
    )
  ].join("\n")
