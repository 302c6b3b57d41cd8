/** The server as a process of its own, as a user runs it. */
import { type ChildProcess, spawn } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Deferred, Effect, type Scope } from "effect"
import { connect, type WireClient } from "./wire.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** What takes so long has failed: no machine is so loaded. Tests that measure how long something takes say so. */
const DEADLINE = "60 seconds"

export interface Run {
  readonly child: ChildProcess
  /** Writes to its standard input, and ends that unless there is more. */
  readonly input: (text: string, more?: "more") => void
  readonly stdout: () => string
  readonly stderr: () => string
  readonly ended: () => boolean
  /** The exit status, when the process has ended. */
  readonly exit: Effect.Effect<number | null>
  /** A client of the server, once that says that it listens. */
  readonly connect: Effect.Effect<WireClient, never, Scope.Scope>
}

const run = (file: string, args: ReadonlyArray<string>, env: Record<string, string>) =>
  Effect.acquireRelease(
    Effect.sync((): Run => {
      const { RANKD_PORT, RANKD_HOST, RANKD_MAX_CLIENTS, RANKD_LOG_LEVEL, ...rest } = process.env
      const child = spawn(file, args, { cwd: root, env: { ...rest, NO_COLOR: "1", ...env }, detached: true })
      const output = { stdout: "", stderr: "" }
      const listening = Deferred.makeUnsafe<{ host: string; port: number }>()
      const exited = Deferred.makeUnsafe<number | null>()
      for (const stream of ["stdout", "stderr"] as const) {
        child[stream].setEncoding("utf8").on("data", (text) => {
          output[stream] += text
          const address = /^rankd listening on (?<host>.*):(?<port>[0-9]+)$/m.exec(output.stdout)?.groups
          if (address !== undefined) {
            const { host, port } = address as { host: string; port: string }
            Deferred.doneUnsafe(listening, Effect.succeed({ host: host.replace(/[[\]]/g, ""), port: Number(port) }))
          }
        })
      }
      child.on("close", (code) => Deferred.doneUnsafe(exited, Effect.succeed(code)))
      const failing = (what: string) =>
        Effect.suspend(() => Effect.die(new Error(`${what}\n${output.stdout}${output.stderr}`)))
      return {
        child,
        input: (text, more) => {
          child.stdin.write(text)
          if (more === undefined) child.stdin.end()
        },
        ended: () => child.exitCode !== null || child.signalCode !== null,
        stdout: () => output.stdout,
        stderr: () => output.stderr,
        exit: Effect.timeoutOrElse(Deferred.await(exited), {
          duration: DEADLINE,
          orElse: () => failing("did not end")
        }),
        connect: Deferred.await(listening).pipe(
          Effect.raceFirst(Effect.andThen(Deferred.await(exited), failing("ended"))),
          Effect.timeoutOrElse({ duration: DEADLINE, orElse: () => failing("does not listen") }),
          Effect.flatMap(connect)
        )
      }
    }),
    ({ child, ended }) =>
      Effect.gen(function* () {
        const kill = (signal: NodeJS.Signals) => Effect.ignore(Effect.try(() => process.kill(-child.pid!, signal)))
        // On a second signal it ends at once, with the process groups that it has started.
        for (let time = 0; time < 2 && !ended(); time++) yield* Effect.delay(kill("SIGTERM"), "50 millis")
        for (let time = 0; time < 100 && !ended(); time++) yield* Effect.sleep("10 millis")
        yield* kill("SIGKILL")
      })
  )

const sources = ["--import", "tsx", "src/main.ts"]

/** What Node runs as `rankd`: under vitest what `program.ts` has bundled, else the sources. */
const program = process.env.RANKD_PROGRAM === undefined ? sources : [process.env.RANKD_PROGRAM]

/** The same as the beginning of a shell command. */
export const rankdCommand = [process.execPath, ...program].join(" ")

/** `rankd` with these arguments, until the scope closes. */
export const rankd = (args: ReadonlyArray<string>, env: Record<string, string> = {}) =>
  run(process.execPath, [...program, ...args], env)

/** What `npm start` runs, with these arguments; also where memory is measured, which the loader has a part in. */
export const npmStart = (args: ReadonlyArray<string>) => run(process.execPath, [...sources, ...args], {})

/**
 * A command of a shell whose `descriptors`, such as "2" or "12", are on a pseudo-terminal that is stopped. What it
 * prints there appears on `stderr` after the inputs `go` and `read`. See `stopped.py` for the rest.
 */
export const stopped = (descriptors: string, command: string) =>
  run("python3", ["test/support/stopped.py", descriptors, `exec ${command}`], {})

/** Any command of a shell in the project's folder. */
export const shell = (command: string) => run("sh", ["-c", command], {})

/** Resident memory of a process, in bytes. */
export const memoryOf = (pid: number): number => {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]
  return Number(kilobytes) * 1024
}

/** How many descriptors it has open. */
export const descriptorsOf = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length

/** Waits until `output` says so. */
export const says = (output: () => string, pattern: RegExp) =>
  Effect.gen(function* () {
    while (!pattern.test(output())) yield* Effect.sleep("10 millis")
  }).pipe(Effect.timeoutOrElse({ duration: DEADLINE, orElse: () => Effect.die(new Error(`says ${output()}`)) }))

/** Waits until there is no process of this id. */
export const gone = (pid: number) =>
  Effect.sync(() => process.kill(pid, 0)).pipe(
    Effect.delay("10 millis"),
    Effect.forever,
    Effect.catchDefect(() => Effect.void),
    Effect.timeoutOrElse({ duration: DEADLINE, orElse: () => Effect.die(new Error(`${pid} lives`)) })
  )
