/**
 * Executes commands as processes. It owns the processes; `Policy` decides which commands may run.
 *
 * Invariants: a command runs as an argument vector, never through a shell, in a fixed environment, for a
 * limited time, with limited output and a limited number at once. When its outcome is known, no
 * process of its group is left; a process that leaves the group, like a daemon, is out of reach.
 */
import { Duration, Effect, Fiber, type PlatformError, Stream } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import type { Ended, IncomingCommand } from "../client/Executor.ts"
import { allows, type Pattern, words } from "./Policy.ts"

/** What an agent may run, and its limits. */
export interface AgentOptions {
  /** A command runs only if one of these patterns matches it. */
  readonly allow: ReadonlyArray<Pattern>
  /** The working directory of every command. */
  readonly cwd: string
  /** How long a command may run. */
  readonly timeout: Duration.Duration
  /** Bytes of a command's output that reach the issuer; the rest is dropped. */
  readonly maxOutput: number
  /** How many commands may run at once; one more ends as `busy`. */
  readonly maxRunning: number
}

/** The whole environment of a command. */
const ENVIRONMENT = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8" }

/** How long a process group has to end after SIGTERM; then SIGKILL ends it. */
const KILL_DELAY = "5 seconds"

/** How long to wait for the end of the output, which a process outside the group may hold open. */
const DRAIN_TIMEOUT = "1 second"

/** How often a running command sends its new output. A shorter command sends all of it with its outcome. */
const OUTPUT_INTERVAL = "1 second"

/** Characters of output that one message holds. */
const MAX_PIECE = 8192

/** The exit codes of a shell for a command that does not exist, and for one that it may not execute. */
const NOT_FOUND = 127
const NOT_EXECUTABLE = 126

/** The output of a command that was not sent yet. */
class PrintedOutput {
  #text = ""
  #room: number
  truncated = false

  constructor(maxOutput: number) {
    this.#room = maxOutput
  }

  /** Reads a stream to its end. It drops what exceeds the limit, so that the command never waits for a reader. */
  gather(output: Stream.Stream<Uint8Array, PlatformError.PlatformError>): Effect.Effect<void> {
    const decoder = new TextDecoder()
    return Effect.ignore(
      Stream.runForEach(output, (bytes) =>
        Effect.sync(() => {
          const fitting = bytes.subarray(0, this.#room)
          this.#room -= fitting.length
          this.truncated ||= fitting.length < bytes.length
          this.#text += decoder.decode(fitting, { stream: true })
        })
      )
    )
  }

  /** Takes up to `length` characters, and never half of a surrogate pair. */
  take(length = Number.POSITIVE_INFINITY): string {
    const text = this.#text.slice(0, length).replace(/[\ud800-\udbff]$/, "")
    this.#text = this.#text.slice(text.length)
    return text
  }
}

const notStarted = ({ reason }: PlatformError.PlatformError, file: string): Ended => {
  if (reason._tag === "NotFound") return { status: NOT_FOUND, output: `${file}: not found\n` }
  if (reason._tag === "PermissionDenied") return { status: NOT_EXECUTABLE, output: `${file}: permission denied\n` }
  return { status: "failed", output: `${file}: ${reason._tag}\n` }
}

/** A handler for `RankClient.handle`. Interrupting it ends the process group of its command. */
export const make = Effect.fnUntraced(function* (options: AgentOptions) {
  const { allow, cwd, maxOutput, maxRunning, timeout } = options
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  let running = 0

  const execute = Effect.fnUntraced(function* (incoming: IncomingCommand, file: string, args: ReadonlyArray<string>) {
    const printed = new PrintedOutput(maxOutput)
    const process = yield* spawner.spawn(
      ChildProcess.make(file, args, {
        cwd,
        env: ENVIRONMENT,
        extendEnv: false,
        stdin: "ignore",
        killSignal: "SIGKILL"
      })
    )
    const stop = Effect.ignore(process.kill({ killSignal: "SIGTERM", forceKillAfter: KILL_DELAY }))
    const gathering = yield* Effect.forkScoped(
      Effect.all([printed.gather(process.stdout), printed.gather(process.stderr)], { concurrency: 2 })
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
    // A process that a signal ended has no exit code.
    const exited = Effect.orElseSucceed(process.exitCode, () => "failed" as const)
    const status = yield* Effect.onInterrupt(Effect.timeoutOption(exited, timeout), () => stop)
    // Processes that the command left behind may hold its output open.
    yield* status._tag === "None" ? stop : Effect.ignore(process.kill({ killSignal: "SIGKILL" }))
    yield* Effect.timeoutOption(Fiber.await(gathering), DRAIN_TIMEOUT)
    yield* Fiber.interrupt(sending)
    const late = status._tag === "None" ? `killed after ${Duration.format(timeout)}\n` : ""
    return {
      status: status._tag === "None" ? "failed" : status.value,
      output: printed.take() + late,
      ...(printed.truncated ? { truncated: true } : {})
    } satisfies Ended
  }, Effect.scoped)

  return (incoming: IncomingCommand): Effect.Effect<Ended> =>
    Effect.suspend((): Effect.Effect<Ended> => {
      const argv = words(incoming.command)
      if (!allows(allow, argv)) return Effect.succeed({ status: "denied" })
      if (running >= maxRunning) return Effect.succeed({ status: "busy" })
      running++
      const [file, ...args] = argv as [string, ...Array<string>]
      return execute(incoming, file, args).pipe(
        Effect.catch((error) => Effect.succeed(notStarted(error, file))),
        Effect.ensuring(Effect.sync(() => running--))
      )
    })
})
