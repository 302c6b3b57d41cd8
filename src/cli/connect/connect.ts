/** `rankd connect`: talks to a server, for a person or for a script. */
import { Effect } from "effect"
import { Command } from "effect/cli"
import { Stdio } from "effect/Stdio"
import { type Connecting, flags } from "../connection/flags.ts"
import { stopOnHangup } from "../signals.ts"
import * as Prompt from "./prompt/prompt.ts"
import * as Script from "./script.ts"

const run = Effect.fnUntraced(function* (options: Connecting) {
  yield* stopOnHangup
  const { stdinIsTerminal, stdoutIsTerminal } = yield* Stdio
  const person = (yield* stdinIsTerminal) && (yield* stdoutIsTerminal)
  return yield* (person ? Prompt.run : Script.run)(options)
})

export const command = Command.make("connect", flags, run).pipe(
  Command.withDescription("Talk to a server: at a prompt, or with a script on standard input"),
  Command.withExamples([
    { command: "rankd connect --name boss", description: "Open a prompt; HELP lists the verbs" },
    { command: "echo 'EXEC#1 @worker uptime' | rankd connect", description: "Run one command and exit with its status" }
  ])
)
