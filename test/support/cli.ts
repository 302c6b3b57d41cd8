/** The command line in this process: faster than to start another. */
import { NodeServices } from "@effect/platform-node"
import { ConfigProvider, Console, Effect, Stdio, Stream } from "effect"
import * as Rankd from "../../src/cli/rankd.ts"

export interface Ended {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs `rankd` with these arguments, this standard input and this environment, and without a terminal. */
export const rankdHere = Effect.fnUntraced(function* (
  args: ReadonlyArray<string>,
  input = Effect.succeed(""),
  env: Record<string, string> = {}
) {
  let stdout = ""
  let stderr = ""
  const console: Console.Console = {
    ...globalThis.console,
    log: (...said) => {
      stdout += `${said.join(" ")}\n`
    },
    error: (...said) => {
      stderr += `${said.join(" ")}\n`
    }
  }
  const stdio = Stdio.layerTest({
    args: Effect.succeed(args),
    stdin: Stream.encodeText(Stream.fromEffect(input)),
    stdinIsTerminal: Effect.succeed(false),
    stdoutIsTerminal: Effect.succeed(false),
    stderrIsTerminal: Effect.succeed(false)
  })
  const exit = yield* Effect.exit(
    Rankd.run.pipe(
      Effect.provide(stdio),
      Effect.provideService(Console.Console, console),
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env })),
      Effect.provide(NodeServices.layer)
    )
  )
  let status = -1
  Rankd.teardown(exit, (code) => {
    status = code
  })
  return { status, stdout, stderr } satisfies Ended
})
