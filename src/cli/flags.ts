/**
 * How the command line gets a value: from a flag, else from an environment variable, else a default. A `Row` is all that
 * is known about one, so that the flag, its help and the table in the docs agree. An error names the flag or the variable,
 * the value, and what it should be; `usage.ts` prints it.
 */
import { Config, Effect, type FileSystem, Option } from "effect"
import { CliError, Flag, Param, Primitive } from "effect/cli"
import { pathError } from "./files.ts"

/** Where a value comes from: `--port` or `RANKD_PORT`; with its value `--port abc` or `RANKD_PORT=abc`. */
interface Source {
  readonly name: string
  readonly withValue: string
}

/** What a value looks like, and how it is read. */
export interface Kind<A> {
  readonly metavar?: string
  /** The flag as text; its type decides how a shell completes it. */
  readonly flag: (name: string) => Flag.Flag<string>
  /** Fails with what is wrong. */
  readonly read: (text: string, source: Source) => Effect.Effect<A, string, FileSystem.FileSystem>
}

/** Text of which `accept` makes a value. `expected` says what that is: "a port (a whole number from 0 to 65535)". */
export const text = <A>(expected: string, accept: (text: string) => A | undefined, metavar?: string): Kind<A> => ({
  ...(metavar === undefined ? {} : { metavar }),
  flag: Flag.String,
  read: (text, { withValue }) => {
    const value = accept(text)
    return value === undefined ? Effect.fail(`${withValue}: not ${expected}`) : Effect.succeed(value)
  }
})

/** Text that `accept` judges. */
export const word = (expected: string, accept: (text: string) => boolean, metavar?: string): Kind<string> =>
  text(expected, (text) => (accept(text) ? text : undefined), metavar)

const wholeNumber = (expected: string, least: number, most: number, metavar: string): Kind<number> =>
  text(
    expected,
    (text) => (/^[0-9]+$/.test(text) && Number(text) >= least && Number(text) <= most ? Number(text) : undefined),
    metavar
  )

export const whole = (least: number, most: number, unit: "number" | "seconds" | "bytes" = "number"): Kind<number> =>
  wholeNumber(`a whole number${unit === "number" ? "" : ` of ${unit}`} from ${least} to ${most}`, least, most, unit)

const MAX_PORT = 65_535

export const port = (least: 0 | 1): Kind<number> =>
  wholeNumber(`a port (a whole number from ${least} to ${MAX_PORT})`, least, MAX_PORT, "number")

export const host: Kind<string> = word("a name or an address", (text) => text !== "", "host")

/** One of a few words. */
export const choice = <const Words extends ReadonlyArray<string>>(words: Words): Kind<Words[number]> => ({
  ...text<Words[number]>(`one of ${words.join(", ")}`, (text) => words.find((word) => word === text)),
  flag: (name) => Flag.Literals(name, words)
})

const ON = ["true", "yes", "on", "1", "y"]
const OFF = ["false", "no", "off", "0", "n"]

/** A flag without a value; its variable has one. */
export const onOff: Kind<boolean> = {
  ...text("true or false", (text) => (ON.includes(text) ? true : OFF.includes(text) ? false : undefined)),
  flag: (name) => Flag.map(Flag.Boolean(name), String)
}

/** The shell completes it as a path. `effect/cli` itself would report the path as an absolute one. */
const pathFlag =
  (type: "file" | "directory") =>
  (name: string): Flag.Flag<string> =>
    Param.makeSingle({
      kind: Param.flagKind,
      name,
      primitiveType: Object.assign(Primitive.Path(type), { parse: (path: string) => Effect.succeed(path) })
    })

/** A file that a command opens later. Its errors name the flag or the variable, too. */
export interface NamedPath {
  readonly path: string
  readonly source: string
}

export const namedPath: Kind<NamedPath> = {
  metavar: "file",
  flag: pathFlag("file"),
  read: (path, { name }) => Effect.succeed({ path, source: name })
}

/** The path of a file that exists. `advice` says which one to name. */
export const file = (advice: string): Kind<string> => ({
  metavar: "file",
  flag: pathFlag("file"),
  read: (path, { name }) =>
    Effect.flatMap(pathError(name, path, "File"), (error) =>
      error === undefined ? Effect.succeed(path) : Effect.fail(`${error}. ${advice}`)
    )
})

export const folder: Kind<string> = {
  metavar: "folder",
  flag: pathFlag("directory"),
  read: (path, { name }) =>
    Effect.flatMap(pathError(name, path, "Directory"), (error) =>
      error === undefined ? Effect.succeed(path) : Effect.fail(error)
    )
}

/** What is wrong with the arguments, as an error of the command line. */
export const invalid = (message: string): CliError.ValidationError => new CliError.ValidationError({ message })

const quoted = (text: string): string => (/^[^\s"]+$/.test(text) ? text : JSON.stringify(text))

const flagSource = (name: string, text: string): Source => ({
  name: `--${name}`,
  withValue: `--${name} ${quoted(text)}`
})

const readFlag = <A>(name: string, kind: Kind<A>, text: string) =>
  Effect.mapError(kind.read(text, flagSource(name, text)), invalid)

const readVariable = Effect.fnUntraced(function* <A>(variable: string, kind: Kind<A>) {
  const text = yield* Effect.orDie(Config.option(Config.String(variable)))
  if (Option.isNone(text)) return Option.none<A>()
  const source = { name: variable, withValue: `${variable}=${text.value}` }
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
    return variable === undefined ? Effect.succeedNone : readVariable(variable, kind)
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
