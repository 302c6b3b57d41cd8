/** Kinds of values: what one looks like, how it is read from text, and what an error says about it. */
import { isIPv6 } from "node:net"
import { Effect, type FileSystem } from "effect"
import { Flag, Param, Primitive } from "effect/cli"
import { pathError } from "./pathError.ts"

/** Where a value comes from: `--port` or `RANKD_PORT`; with its value `--port abc` or `RANKD_PORT=abc`. */
export interface Source {
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

/** An IPv6 address may have the brackets with which it is printed beside a port. A name may have letters of any language. */
export const host: Kind<string> = text(
  "a name or an address",
  (text) => {
    const [, address = text] = /^\[(.*:.*)\]$/.exec(text) ?? []
    return isIPv6(address) || /^[\p{L}\p{M}\p{N}._-]+$/u.test(address) ? address : undefined
  },
  "host"
)

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

/** The path of a file that may be missing. */
export const path: Kind<string> = {
  metavar: "file",
  flag: pathFlag("file"),
  read: (path) => Effect.succeed(path)
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
