/**
 * Executes commands as processes: those that the policy allows, as an argument
 * vector and never by a shell, in a fixed environment, for a limited time, with
 * limited output, and only so many at once. Whatever happens, none of a command's
 * process group stays behind; but a process that has left its group, as a daemon
 * does, is out of reach.
 */
import { Duration, Effect, Fiber, type PlatformError, Stream } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import type { Ended, Order } from "../client/Executor.ts"
import { allows, type Pattern, words } from "./Policy.ts"

export interface AgentOptions {
  readonly allow: ReadonlyArray<Pattern>
  /** The working directory of every command. */
  readonly cwd: string
  /** How long a command may take. */
  readonly timeout: Duration.Duration
  /** Bytes of a command's output that are told, at most. */
  readonly maxOutput: number
  /** Commands that run at once, at most; any further one is `busy`. */
  readonly maxRunning: number
}

/** All that a command finds in its environment. */
const ENVIRONMENT = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8" }

/** How long a process group has to end when it is told to; then it is killed. */
const GRACE = "5 seconds"

/** How long output is waited for that a process outside of the group may still hold open. */
const DRAIN = "1 second"

/** A command that takes longer has its output told as it comes, this often; one that does not tells it as it ends. */
const OUTPUT_INTERVAL = "1 second"

/** Characters that are told at a time. */
const OUTPUT_LINE = 8192

/** What a shell says of a command that is not there, or that it may not run. */
const NOT_FOUND = 127
const NOT_EXECUTABLE = 126

/** What was printed so far, and is not told yet. */
class Printed {
  #text = ""
  #room: number
  truncated = false

  constructor(maxOutput: number) {
    this.#room = maxOutput
  }

  /** Takes all that a stream of output brings; what there is no room for is dropped, so that nothing waits for it. */
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

  /** The next of it, so many characters at most. */
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

/** What `RankClient.handle` takes. Its interruption ends the command's process group. */
export const make = Effect.fnUntraced(function* (options: AgentOptions) {
  const { allow, cwd, maxOutput, maxRunning, timeout } = options
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  let running = 0

  const execute = Effect.fnUntraced(function* (order: Order, file: string, args: ReadonlyArray<string>) {
    const printed = new Printed(maxOutput)
    const process = yield* spawner.spawn(
      ChildProcess.make(file, args, {
        cwd,
        env: ENVIRONMENT,
        extendEnv: false,
        stdin: "ignore",
        killSignal: "SIGKILL"
      })
    )
    const stop = Effect.ignore(process.kill({ killSignal: "SIGTERM", forceKillAfter: GRACE }))
    const gathering = yield* Effect.forkScoped(
      Effect.all([printed.gather(process.stdout), printed.gather(process.stderr)], { concurrency: 2 })
    )
    // As much as fits a line: that is said even where the wait for room to say more is interrupted.
    const tell = Effect.suspend(() => {
      const text = printed.take(OUTPUT_LINE)
      return Effect.as(order.output(text), text !== "")
    })
    const telling = yield* Effect.repeat(tell, { while: (more) => more }).pipe(
      Effect.delay(OUTPUT_INTERVAL),
      Effect.forever,
      Effect.forkScoped
    )
    // Where it was ended by a signal there is no exit code.
    const exited = Effect.orElseSucceed(process.exitCode, () => "failed" as const)
    const status = yield* Effect.onInterrupt(Effect.timeoutOption(exited, timeout), () => stop)
    // What it left behind may hold its output open.
    yield* status._tag === "None" ? stop : Effect.ignore(process.kill({ killSignal: "SIGKILL" }))
    yield* Effect.timeoutOption(Fiber.await(gathering), DRAIN)
    yield* Fiber.interrupt(telling)
    const late = status._tag === "None" ? `killed after ${Duration.format(timeout)}\n` : ""
    return {
      status: status._tag === "None" ? "failed" : status.value,
      output: printed.take() + late,
      ...(printed.truncated ? { truncated: true } : {})
    } satisfies Ended
  }, Effect.scoped)

  return (order: Order): Effect.Effect<Ended> =>
    Effect.suspend((): Effect.Effect<Ended> => {
      const argv = words(order.command)
      if (!allows(allow, argv)) return Effect.succeed({ status: "denied" })
      if (running >= maxRunning) return Effect.succeed({ status: "busy" })
      running++
      const [file, ...args] = argv as [string, ...Array<string>]
      return execute(order, file, args).pipe(
        Effect.catch((error) => Effect.succeed(notStarted(error, file))),
        Effect.ensuring(Effect.sync(() => running--))
      )
    })
})
