/** `rankd ranks`: lists the members of a group once. */
import { Console, Deferred, Effect } from "effect"
import { Command } from "effect/cli"
import { Stdio } from "effect/Stdio"
import type { ServerMessage } from "../protocol/Messages.ts"
import { textCodec } from "../protocol/text/TextCodec.ts"
import * as Client from "./connection/client.ts"
import { type Connecting, flags } from "./connection/flags.ts"
import { ranked } from "./connection/ranked.ts"
import { blocked, memberTable } from "./members.ts"
import { say } from "./say.ts"
import { stopOnHangup } from "./signals.ts"
import { json, styled } from "./terminal/text.ts"

const run = Effect.fnUntraced(function* (options: Connecting) {
  yield* stopOnHangup
  const link = yield* Client.link(options)
  const listed = yield* Deferred.make<ServerMessage & { _tag: "Roster" }>()
  const heard = (message: ServerMessage) => {
    if (message._tag === "Welcome") return link.say({ _tag: "Ranks" })
    return message._tag === "Roster" ? Deferred.succeed(listed, message) : Effect.void
  }
  yield* Effect.forkScoped(link.run({ heard, broken: Effect.void }))
  const { member } = yield* ranked(options, link)
  const roster = yield* Deferred.await(listed)
  const { stdoutIsTerminal } = yield* Stdio
  const table = (yield* stdoutIsTerminal)
    ? memberTable(roster.members, member).map(({ style, text }) => styled(style, text))
    : [textCodec.encodeServer(roster)]
  yield* Console.log((options.json ? roster.members.map(json) : table).join("\n"))
  const why = blocked(roster.members)
  if (why !== undefined) yield* say(options.json, "Notice", why)
}, Effect.scoped)

export const command = Command.make("ranks", flags, run).pipe(
  Command.withDescription("List the members of a group. While it runs, this command is the last one"),
  Command.withExamples([{ command: "rankd ranks --group workers", description: "List the members of another group" }])
)
