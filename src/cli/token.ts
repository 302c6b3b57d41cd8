/** `rankd token`: makes a token, and its line for a server's token file. */
import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import { Console, Effect, Option, Schema } from "effect"
import { Command } from "effect/cli"
import { GroupName } from "../protocol/Ids.ts"
import * as Tokens from "../server/admission/Tokens.ts"
import { name } from "./connection/flags.ts"
import { choice, onOff, word } from "./flags/kinds.ts"
import { flagsOf, optional, withDefault } from "./flags/rows.ts"
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
  json: withDefault(
    { name: "json", kind: onOff, shown: "", help: "Print token and line as one JSON object on standard output" },
    false
  )
})

const option = (name: string, value: Option.Option<string>) =>
  Option.match(value, { onNone: () => [], onSome: (value) => [`${name}=${value}`] })

export const command = Command.make(
  "token",
  flags,
  Effect.fnUntraced(function* ({ groups, json: asJson, may, name }) {
    const words = [...option("groups", groups), ...option("may", may)]
    const made = yield* Tokens.generate(Option.getOrUndefined(name), words)
    if (asJson) return yield* Console.log(json(made))
    yield* Console.error(`The token, which is shown this once: ${made.token}`)
    yield* Console.log(made.line)
  }, Effect.provide(NodeCrypto.layerDigest))
).pipe(
  Command.withDescription("Make a token (standard error) and its line for --token-file (standard output)"),
  Command.withExamples([
    { command: "rankd token --name worker >> tokens", description: "Add a line to the server's token file" },
    {
      command: "rankd token --groups jobs --may watch --json",
      description: "Make a token for a dashboard that only looks"
    }
  ])
)
