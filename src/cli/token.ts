/** `rankd token`: makes a token, and the line of a server's token file that is for it. */
import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import { Console, Effect, Option, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { GroupName, Name } from "../protocol/Ids.ts"
import * as Tokens from "../server/admission/Tokens.ts"
import { json } from "./terminal.ts"

const rights = ["issue,execute", "issue", "execute", "watch"] as const

const flags = {
  name: Flag.String("name").pipe(
    Flag.filter(Schema.is(Name), () => "1-64 of A-Z a-z 0-9 . _ -, not like a member id (m1)"),
    Flag.optional,
    Flag.withDescription("The name that its bearer has, and no other (any)")
  ),
  groups: Flag.String("groups").pipe(
    Flag.filter(
      (groups) => groups.split(",").every((group) => Schema.is(GroupName)(group)),
      () => "groups, with commas between them"
    ),
    Flag.optional,
    Flag.withDescription("The groups that its bearer may be in, as jobs,backups (any)")
  ),
  may: Flag.Literals("may", rights).pipe(
    Flag.optional,
    Flag.withDescription("What its bearer may do with commands; watch is neither (issue,execute)")
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Print both as one JSON object, on standard output")
  )
}

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
  Command.withDescription("Make a token (on standard error), and its line for --token-file (on standard output)"),
  Command.withExamples([
    { command: "rankd token --name worker >> tokens", description: "Add a line to the server's token file" },
    { command: "rankd token --groups jobs --may watch --json", description: "For a dashboard that only looks" }
  ])
)
