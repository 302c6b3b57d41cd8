/** `rankd connect`: speaks to a server, for a person or for a script. */
import { Effect } from "effect"
import { Command } from "effect/cli"
import { Stdio } from "effect/Stdio"
import * as Connection from "./connection.ts"
import * as Prompt from "./prompt.ts"
import * as Script from "./script.ts"

const run = Effect.fnUntraced(function* (options: Connection.Connecting) {
  const { stdinIsTerminal, stdoutIsTerminal } = yield* Stdio
  const person = (yield* stdinIsTerminal) && (yield* stdoutIsTerminal)
  return yield* (person ? Prompt.run : Script.run)(options)
})

export const command = Command.make("connect", Connection.flags, run).pipe(
  Command.withDescription("Say lines to a server: at a prompt, or from standard input, one after the other"),
  Command.withExamples([
    { command: "rankd connect --name boss", description: "A prompt; HELP lists what can be said" },
    { command: "echo 'EXEC#1 @worker uptime' | rankd connect", description: "One command; ends with its exit status" }
  ])
)
