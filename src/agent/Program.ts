/**
 * One program that runs, with its process group. It owns how the program starts, how its end is read, and how the group
 * is ended; it does not decide what may run, and limits nothing.
 *
 * Node reports a process that a real-time signal ended as one that exited with 0. So a shell waits for the program and
 * reports its end on a pipe of its own. The shell gets the program and its arguments as finished words and interprets
 * none of them. It outlives the signals that its group gets: the program alone decides when it ends.
 *
 * Invariants: a program that a signal ended never has status 0. When the scope has closed, no process of the group is left.
 */
import { Deferred, Duration, Effect, Stream } from "effect"
import { ChildProcess, type ChildProcessSpawner } from "effect/process"
import { systemProblem } from "./unstartable.ts"

/** How a program ended. */
export interface Exit {
  /** Its exit code, or 128 and the number of the signal that ended it. */
  readonly status: number
  /** The name of that signal, like `SIGKILL`. */
  readonly signal?: string
}

type Shell = ChildProcessSpawner.ChildProcessHandle

export interface Program {
  readonly stdout: Shell["stdout"]
  /** Waits for its end. Fails with what is known if nothing reports how it ended. */
  readonly exit: Effect.Effect<Exit, string>
  /** Asks the group to end, and ends it when its time is over. */
  readonly stop: Effect.Effect<void>
  /** Ends what the program has left behind. */
  readonly clear: Effect.Effect<void>
}

interface Options extends Pick<ChildProcess.CommandOptions, "env" | "extendEnv"> {
  readonly cwd: string
  /** How long the group has to end after SIGTERM; then SIGKILL ends it. */
  readonly killDelay: Duration.Duration
  /**
   * `pipe`: no input, and all output on `stdout`, in the order in which it was written. `inherit`: the input and output
   * of this process. `no input`: its output alone.
   */
  readonly stdio: "pipe" | "inherit" | "no input"
  /** Runs when the process group exists, and before the program does. If it fails, or this process ends, nothing runs. */
  readonly before?: (group: number) => Effect.Effect<void, string>
}

/**
 * Runs "$@". The standard error of the shell itself becomes the pipe of its report, which begins with the process id of
 * the program where the system shows it. Then the shell remarks that a signal ended the program, which no exit code
 * causes. At the end come the status, and the name of its signal if it is above 128.
 */
const waiting = (prepare: string, stderr: 1 | 4): string =>
  `trap : HUP INT QUIT ABRT USR1 USR2 ALRM TERM; exec 4>&2 2>&3 3>&-; ` +
  `(read -r rankd_pid rankd_rest </proc/self/stat && echo "$rankd_pid" >&2; ${prepare}exec "$@" 2>&${stderr} 4>&-); ` +
  's=$?; n=; [ "$s" -le 128 ] || n=$(kill -l "$s" 2>/dev/null); echo "=$s $n" >&2'

/** A shell adds these to the environment. */
const UNSET = "unset PWD OLDPWD SHLVL; "

/** The program starts after this line on descriptor 5. If this process ends before, it never does. */
const GO = new TextEncoder().encode("go\n")
const WAIT_TO_GO = "read -r rankd_go <&5 || exit 1; exec 5<&-; "

const command = (
  argv: ReadonlyArray<string>,
  { before, killDelay: _, stdio, ...options }: Options
): ChildProcess.Command => {
  const wait = before === undefined ? "" : WAIT_TO_GO
  const [script, streams] =
    stdio === "pipe"
      ? [waiting(wait + UNSET, 1), { stdin: "ignore", stderr: "ignore" } as const]
      : [
          waiting(wait, 4),
          { stdin: stdio === "inherit" ? stdio : "ignore", stdout: "inherit", stderr: "inherit" } as const
        ]
  return ChildProcess.make("/bin/sh", ["-c", script, "sh", ...argv], {
    ...options,
    ...streams,
    killSignal: "SIGKILL",
    additionalFds: { fd3: { type: "output" }, ...(before === undefined ? {} : { fd5: { type: "input" } }) }
  })
}

/** A shell makes no remark about these, so an exit code of 128 and their number looks the same. */
const UNREMARKED = ["INT", "PIPE"]

const REPORT = /^(?:\d+\n)?(.*)=(\d+) (.*)\n$/s

const exitIn = (report: string): Exit | undefined => {
  const [, remark = "", status, name = ""] = REPORT.exec(report) ?? []
  if (status === undefined) return undefined
  const bySignal = name !== "" && (remark !== "" || UNREMARKED.includes(name))
  return { status: Number(status), ...(bySignal ? { signal: `SIG${name}` } : {}) }
}

/** A signal that no shell outlives ended the whole group. */
const KILLED: Exit = { status: 137, signal: "SIGKILL" }

/** How a program ended whose shell did not report it. */
const unreported = Effect.fnUntraced(function* ({ exitCode }: Shell, report: string): Effect.fn.Return<Exit, string> {
  // Node names the signal in the message only.
  const how = yield* Effect.match(exitCode, {
    onSuccess: (code) => `with ${code}`,
    onFailure: ({ reason }) => `${reason.cause}`
  })
  if (how.includes("'SIGKILL'")) return KILLED
  return yield* Effect.fail(report.replace(/^\d+\n/, "").trim() || `the shell that waits for it ended ${how}`)
})

/**
 * The program gets SIGKILL so much sooner than its group: the shell is still there to wait for it. Otherwise it would stay
 * as a zombie where no process of the system waits for orphans, as in a container.
 */
const KILL_LEAD = Duration.millis(50)

/** How long the report of a group that has ended may take. On a busy machine it takes a while to be read. */
const REPORT_WITHIN = Duration.seconds(1)

/** What the shell has reported so far. */
class Report {
  #text = ""

  get pid(): number | undefined {
    const [pid] = /^\d+(?=\n)/.exec(this.#text) ?? []
    return pid === undefined ? undefined : Number(pid)
  }

  read(from: Shell): Effect.Effect<Exit, string> {
    return Stream.runForEach(Stream.decodeText(from.getOutputFd(3)), (text) =>
      Effect.sync(() => {
        this.#text += text
      })
    ).pipe(
      Effect.ignore,
      Effect.andThen(
        Effect.suspend(() => {
          const exit = exitIn(this.#text)
          return exit === undefined ? unreported(from, this.#text) : Effect.succeed(exit)
        })
      )
    )
  }
}

/** Starts a program, and stops it when the scope closes. Fails with why it cannot start, in words. */
export const start = Effect.fnUntraced(function* (
  spawner: ChildProcessSpawner.ChildProcessSpawner["Service"],
  argv: ReadonlyArray<string>,
  options: Options
) {
  const shell = yield* spawner.spawn(command(argv, options)).pipe(
    Effect.mapError(({ reason }) => reason.cause ?? reason),
    // Node throws some errors of the system.
    Effect.catchDefect((defect) => Effect.fail(defect)),
    Effect.mapError((error) => systemProblem(error, options.cwd))
  )
  if (options.before !== undefined) yield* options.before(shell.pid)
  const report = new Report()
  const exit = yield* Deferred.make<Exit, string>()
  yield* Effect.forkScoped(Deferred.into(report.read(shell), exit))
  // It may have ended meanwhile, and the shell not reported it yet.
  const killProgram = Effect.ignore(
    Effect.try(() => report.pid !== undefined && !Deferred.isDoneUnsafe(exit) && process.kill(report.pid, "SIGKILL"))
  ).pipe(Effect.delay(Duration.subtract(options.killDelay, KILL_LEAD)), Effect.andThen(Effect.never))
  const stop = Effect.ignore(
    Effect.raceFirst(shell.kill({ killSignal: "SIGTERM", forceKillAfter: options.killDelay }), killProgram)
  )
  // The report is read while the scope is open: what the group has written last comes after its end.
  const reported = Effect.exit(Effect.timeoutOption(Deferred.await(exit), REPORT_WITHIN))
  yield* Effect.addFinalizer(() => (Deferred.isDoneUnsafe(exit) ? Effect.void : Effect.andThen(stop, reported)))
  // Nobody waits for this: from its first moment on, the program can be asked to end, and its end is read.
  if (options.before !== undefined) {
    yield* Effect.forkScoped(Effect.ignore(Stream.run(Stream.make(GO), shell.getInputFd(5))))
  }
  const clear = Effect.ignore(shell.kill({ killSignal: "SIGKILL" }))
  return { stdout: shell.stdout, exit: Deferred.await(exit), stop, clear } satisfies Program
})
