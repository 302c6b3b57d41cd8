/** `rankd token`: makes a token, and its line for a server's token file. */
import { closeSync, fstatSync, openSync } from "node:fs"
import { getSystemErrorMessage } from "node:util"
import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import { Console, Effect, Option, Schema } from "effect"
import { Command } from "effect/cli"
import { GroupName } from "../protocol/Ids.ts"
import * as Tokens from "../server/admission/Tokens.ts"
import { appendLine } from "./appendLine.ts"
import { Unusable } from "./connection/failures.ts"
import { name } from "./connection/flags.ts"
import { requireWritten } from "./connection/output.ts"
import { choice, onOff, path, word } from "./flags/kinds.ts"
import { flagsOf, optional, quoted, withDefault } from "./flags/rows.ts"
import { stderr } from "./output/output.ts"
import { json } from "./terminal/text.ts"

const isGroup = Schema.is(GroupName)

const flags = flagsOf({
  name: optional({ name: "name", kind: name, shown: "any", help: "The only name that the client may have" }),
  groups: optional({
    name: "groups",
    kind: word("a list of groups (jobs,backups)", (groups) => groups.split(",").every(isGroup), "groups"),
    shown: "any",
    help: "The groups that the client may join, such as jobs,backups"
  }),
  may: optional({
    name: "may",
    kind: choice(["issue,execute", "issue", "execute", "watch"]),
    shown: "issue,execute",
    help: "What the client may do with commands. `watch`: neither"
  }),
  append: optional({
    name: "append",
    kind: path,
    help: "Append the line to this token file. Makes the file for its owner alone"
  }),
  json: withDefault(
    { name: "json", kind: onOff, shown: "", help: "Print token and line as one JSON object on standard output" },
    false
  )
})

const option = (name: string, value: Option.Option<string>) =>
  Option.match(value, { onNone: () => [], onSome: (value) => [`${name}=${value}`] })

const reasonOf = ({ errno, message }: NodeJS.ErrnoException): string =>
  errno === undefined ? message : getSystemErrorMessage(errno)

/** A file that does not exist yet is for its owner alone. */
const append = (path: string, line: string) =>
  Effect.try({
    try: () => {
      const file = openSync(path, "a+", 0o600)
      try {
        const stat = fstatSync(file)
        if (!stat.isFile()) throw new Error("not a file")
        appendLine(file, stat.size, line)
      } finally {
        closeSync(file)
      }
    },
    catch: (error) => new Unusable({ message: `--append ${quoted(path)}: ${reasonOf(error as NodeJS.ErrnoException)}` })
  })

/**
 * A line of its own, also behind `>> tokens` or `2>> log`: the last line of that file may have no end, and cannot be read
 * here. An empty line means nothing in a token file.
 */
const ownLine = (line: string, { fd }: { readonly fd: number }): string => {
  const output = fstatSync(fd)
  return output.isFile() && output.size > 0 ? `\n${line}` : line
}

const print = (line: string) => Effect.suspend(() => Console.log(ownLine(line, process.stdout)))

/** Nobody can print it again. */
const show = Effect.fnUntraced(function* (token: string) {
  yield* Console.error(ownLine(`The token, which is shown this once: ${token}`, process.stderr))
  yield* stderr.drained
  yield* requireWritten(stderr)
})

export const command = Command.make(
  "token",
  flags,
  Effect.fnUntraced(function* ({ append: file, groups, json: asJson, may, name }) {
    const words = [...option("groups", groups), ...option("may", may)]
    const made = yield* Tokens.generate(Option.getOrUndefined(name), words)
    if (Option.isSome(file)) yield* append(file.value, made.line)
    if (asJson) return yield* print(json(made))
    yield* show(made.token)
    if (Option.isNone(file)) yield* print(made.line)
  }, Effect.provide(NodeCrypto.layerDigest))
).pipe(
  Command.withDescription("Make a token (standard error) and its line for --token-file (standard output)"),
  Command.withExamples([
    { command: "rankd token --name worker --append tokens", description: "Add a line to the server's token file" },
    {
      command: "rankd token --groups jobs --may watch --json",
      description: "Make a token for a dashboard that only looks"
    }
  ])
)
