/**
 * Executes commands as processes. It owns the processes; `Policy` decides which commands may run.
 *
 * Invariants: a command runs as an argument vector, which no shell interprets, in a fixed environment, for a
 * limited time, with limited output and a limited number at once. When its outcome is known, no
 * process of its group is left; a process that leaves the group, like a daemon, is out of reach.
 */
import { Duration, Effect, Fiber, FileSystem, Option, Result, Stream } from "effect"
import { ChildProcessSpawner } from "effect/process"
import type { Ended, IncomingCommand } from "../client/Executor.ts"
import { allows, type Pattern, words } from "./Policy.ts"
import { PrintedOutput } from "./PrintedOutput.ts"
import * as Program from "./Program.ts"
import { type Unstartable, unstartable } from "./unstartable.ts"

/** What an agent may run, and its limits. */
export interface AgentOptions {
  /** A command runs only if one of these patterns matches it. The list may change at any time: the next command is judged by the new one. */
  readonly allow: ReadonlyArray<Pattern>
  /** The working directory of every command. */
  readonly cwd: string
  /** How long a command may run. */
  readonly timeout: Duration.Duration
  /** Bytes of a command's output that reach the issuer: the first half of them as they come, then the last ones. */
  readonly maxOutput: number
  /** How many commands may run at once; one more ends as `busy`. */
  readonly maxRunning: number
}

/** The whole environment of a command. */
const ENVIRONMENT = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8" }

/** How long a process group has to end after SIGTERM; then SIGKILL ends it. */
const KILL_DELAY = Duration.seconds(5)

/** How long to wait for the end of the output, which a process outside the group may hold open. */
const DRAIN_TIMEOUT = "1 second"

/** How often a running command sends its new output. A shorter command sends all of it with its outcome. */
const OUTPUT_INTERVAL = "1 second"

/** Characters of output that one message holds. */
const MAX_PIECE = 8192

/** A quote is the likeliest reason why a command is not allowed that looks as if it were. */
const denied = (command: string): Ended => ({
  status: "denied",
  ...(/["']/.test(command)
    ? { output: "no pattern allows this. Quotes are ordinary characters here: they join no words\n" }
    : {})
})

const notStarted = ([file]: ReadonlyArray<string>, { reason, status }: Unstartable): Ended => ({
  status,
  output: `${file}: ${reason}\n`
})

/** The status for the issuer, and a line where the status alone does not say enough. */
const statusOf = (exit: Result.Result<Program.Exit, string>): readonly [Ended["status"], line?: string] => {
  if (Result.isFailure(exit)) return ["failed", exit.failure]
  const { signal, status } = exit.success
  return signal === undefined ? [status] : [status, `ended by ${signal}`]
}

/** A handler for `RankClient.handle`. Interrupting it ends the process group of its command. */
export const make = Effect.fnUntraced(function* (options: AgentOptions) {
  const { allow, cwd, maxOutput, maxRunning, timeout } = options
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const fileSystem = yield* FileSystem.FileSystem
  let running = 0

  const execute = Effect.fnUntraced(function* (incoming: IncomingCommand, argv: ReadonlyArray<string>) {
    const problem = yield* unstartable(argv[0]!, cwd, ENVIRONMENT.PATH)
    if (problem !== undefined) return notStarted(argv, problem)
    const printed = new PrintedOutput(maxOutput)
    const program = yield* Program.start(spawner, argv, {
      cwd,
      env: ENVIRONMENT,
      extendEnv: false,
      killDelay: KILL_DELAY,
      stdio: "pipe"
    })
    const gathering = yield* Effect.forkScoped(
      Stream.runForEach(program.stdout, (bytes) => Effect.sync(() => printed.add(bytes)))
    )
    // A piece fits on one line, which is sent as a whole even if the wait for room after it is interrupted.
    const send = Effect.suspend(() => {
      const text = printed.take(MAX_PIECE)
      return Effect.as(incoming.output(text), text !== "")
    })
    const sending = yield* Effect.repeat(send, { while: (more) => more }).pipe(
      Effect.delay(OUTPUT_INTERVAL),
      Effect.forever,
      Effect.forkScoped
    )
    const exit = yield* Effect.timeoutOption(Effect.result(program.exit), timeout)
    // Processes that the command left behind may hold its output open.
    yield* Option.isNone(exit) ? program.stop : program.clear
    yield* Effect.timeoutOption(Fiber.await(gathering), DRAIN_TIMEOUT)
    yield* Fiber.interrupt(sending)
    const [status, line] = Option.match(exit, {
      onNone: () => ["failed", `killed after ${Duration.format(timeout)}`] as const,
      onSome: statusOf
    })
    return {
      status,
      output: printed.end(line),
      ...(printed.truncated ? { truncated: true } : {})
    } satisfies Ended
  }, Effect.scoped)

  return (incoming: IncomingCommand): Effect.Effect<Ended> =>
    Effect.suspend((): Effect.Effect<Ended> => {
      const argv = words(incoming.command)
      if (!allows(allow, argv)) return Effect.succeed(denied(incoming.command))
      if (running >= maxRunning) return Effect.succeed({ status: "busy" })
      running++
      return execute(incoming, argv).pipe(
        Effect.catch((reason) => Effect.succeed(notStarted(argv, { status: "failed", reason }))),
        Effect.ensuring(Effect.sync(() => running--)),
        Effect.provideService(FileSystem.FileSystem, fileSystem)
      )
    })
})
