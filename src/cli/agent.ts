/** `rankd agent`: executes the commands it receives, as far as its policy allows. Without a policy it only prints them. */
import { resolve } from "node:path"
import { Duration, Effect, Option, Stream, SubscriptionRef } from "effect"
import { Command, Flag } from "effect/cli"
import * as Agent from "../agent/Agent.ts"
import * as Policy from "../agent/Policy.ts"
import type { Ended, IncomingCommand } from "../client/Executor.ts"
import { RankClient } from "../client/RankClient.ts"
import * as Client from "./connection/client.ts"
import { Unusable } from "./connection/failures.ts"
import { type Connecting, rows as connectionRows } from "./connection/flags.ts"
import { notices } from "./connection/notices.ts"
import { outliveOutput } from "./connection/output.ts"
import { file, folder, type Kind, whole } from "./flags/kinds.ts"
import { readFile } from "./flags/readFile.ts"
import { flagsOf, optional, several, type ValuesOf, Variables, withDefault } from "./flags/rows.ts"
import { printBounded } from "./output/output.ts"
import { say } from "./say.ts"
import { asService, reloadOnHangup } from "./signals.ts"
import * as Spawner from "./spawner.ts"
import { json, printable } from "./terminal/text.ts"

/** The timeout is below the one that the server has by default: it would end the command as `timeout` and drop its outcome. */
export const defaults = { timeout: 50, maxOutput: 65_536, maxRunning: 16 }

/** Beyond these a typing error is likelier than a need. */
const MAX_TIMEOUT_SECONDS = 604_800
const MAX_OUTPUT_BYTES = 16_777_216
const MAX_RUNNING = 10_000

const pattern: Kind<Policy.Pattern> = {
  metavar: "pattern",
  flag: Flag.String,
  read: (text, { withValue }) =>
    Effect.mapError(Effect.fromResult(Policy.pattern(text)), (error) => `${withValue}: ${error}`)
}

/** The flags that only this command has. */
export const rows = {
  allow: several({
    name: "allow",
    kind: pattern,
    help: "Run commands that match this pattern, such as 'systemctl restart app-*'. You may repeat it"
  }),
  policy: optional({
    name: "policy",
    kind: file("Name a file with a pattern on each line"),
    help: "Run commands that match a pattern in this file"
  }),
  cwd: withDefault({ name: "cwd", kind: folder, shown: "where it started", help: "Folder to run commands in" }, "."),
  timeout: withDefault(
    {
      name: "timeout",
      variable: "RANKD_AGENT_TIMEOUT",
      kind: whole(1, MAX_TIMEOUT_SECONDS, "seconds"),
      help: "Seconds that a command may run. Then it is `failed`. The server waits no longer than the issuer asks for, 60 seconds by default, and drops later outcomes"
    },
    defaults.timeout
  ),
  maxOutput: withDefault(
    {
      name: "max-output",
      variable: "RANKD_AGENT_MAX_OUTPUT",
      kind: whole(0, MAX_OUTPUT_BYTES, "bytes"),
      help: "Bytes of a command's output to pass on: half of them from its start, half from its end (`truncated` in JSON)"
    },
    defaults.maxOutput
  ),
  maxRunning: withDefault(
    {
      name: "max-running",
      variable: "RANKD_AGENT_MAX_RUNNING",
      kind: whole(1, MAX_RUNNING),
      help: "Commands that run at the same time. The next one is `busy`"
    },
    defaults.maxRunning
  )
}

const flags = flagsOf({ ...connectionRows, ...rows })

type Options = Connecting & ValuesOf<typeof rows>

const readPolicy = (path: string) =>
  readFile("policy", path).pipe(
    Effect.flatMap((text) =>
      Effect.mapError(Effect.fromResult(Policy.file(text)), (problem) => `--policy ${path}: ${problem}`)
    ),
    Effect.mapError((message) => new Unusable({ message }))
  )

/** Without a policy: reports the command as executed, and runs nothing. */
const print = ({ command }: IncomingCommand): Effect.Effect<Ended> =>
  Effect.succeed({ status: 0, output: `executed: ${command}` })

/** What the agent prints about a command. */
const line = ({ command }: IncomingCommand, status: Ended["status"] | "cancelled", ran: boolean): string => {
  if (typeof status !== "number") return `${status}: ${printable(command)}`
  return `executed: ${printable(command)}${ran ? ` (${status})` : ""}`
}

/** Warns, once for each limit, if a server does not wait as long as commands may run here. */
const warnOfTimeout = ({ json, timeout }: Options, { limits }: RankClient["Service"]) =>
  SubscriptionRef.changes(limits).pipe(
    Stream.map((limits) => limits?.maxCommandTimeout),
    Stream.changes,
    Stream.runForEach((longest) => {
      if (longest === undefined || timeout * 1000 <= longest) return Effect.void
      const wait = Duration.format(Duration.millis(longest))
      const limit = `the server ends every command after ${wait} at most (its --max-command-timeout)`
      return Effect.flatMap(Variables, (variables) => {
        const given = variables.get("timeout")?.withValue ?? `--timeout ${timeout}`
        return say(json, "Notice", `${given}: ${limit}, and drops later outcomes`)
      })
    })
  )

const run = Effect.fnUntraced(
  function* (options: Options) {
    yield* asService
    const { allow, cwd, maxOutput, maxRunning, policy } = options
    const fromFile = Option.isSome(policy) ? yield* readPolicy(policy.value) : []
    /** A reload changes it in place. */
    const allowed = [...allow, ...fromFile]
    const runs = allow.length > 0 || Option.isSome(policy)
    const execute = runs
      ? yield* Agent.make({
          allow: allowed,
          cwd: resolve(cwd),
          timeout: Duration.seconds(options.timeout),
          maxOutput,
          maxRunning
        })
      : print
    const report = (order: IncomingCommand, status: Ended["status"] | "cancelled", truncated = false) =>
      printBounded(
        options.json
          ? json({ from: order.from, command: order.command, status, ...(truncated ? { truncated } : {}) })
          : line(order, status, runs)
      )
    if (!runs) yield* say(options.json, "Notice", "this agent only prints commands. Let it run some with --allow")
    const handler = (order: IncomingCommand) =>
      execute(order).pipe(
        Effect.tap(({ status, truncated }) => report(order, status, truncated)),
        Effect.onInterrupt(() => report(order, "cancelled"))
      )
    const reload = Option.match(policy, {
      onNone: () => say(options.json, "Notice", "nothing to reload"),
      onSome: (path) =>
        Effect.matchEffect(readPolicy(path), {
          onSuccess: (patterns) => {
            allowed.splice(0, allowed.length, ...allow, ...patterns)
            return say(options.json, "Notice", "reloaded the policy")
          },
          onFailure: ({ message }) =>
            say(options.json, "Notice", `not reloaded: ${message}. The agent keeps what it had`)
        })
    })
    return yield* Effect.gen(function* () {
      yield* outliveOutput(options)
      yield* reloadOnHangup(reload)
      const ranks = yield* RankClient
      yield* notices(options, ranks)
      if (runs) yield* Effect.forkScoped(warnOfTimeout(options, ranks))
      return yield* Effect.never
    }).pipe(Effect.scoped, Effect.provide(Client.layer(options, handler)))
  },
  // Outermost, so that it outlives every process.
  Effect.provide(Spawner.layer)
)

export const command = Command.make("agent", flags, run).pipe(
  Command.withDescription(
    "Execute the commands that this client receives, as far as --allow and --policy allow. Without them, only print"
  ),
  Command.withExamples([
    {
      command: "rankd agent --name worker --allow uptime --allow 'df -h'",
      description: "Run these two commands and no others"
    },
    {
      command: "rankd agent --policy commands.txt --timeout 600",
      description: "Run what a file allows, for up to ten minutes, where the issuer asks for that long"
    }
  ])
)
