/** `rankd lead` as a process, and what it runs: jobs that record when they live. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Duration, Effect } from "effect"
import type { SettingsValues } from "../../src/index.ts"
import { type Run, rankd } from "./process.ts"
import { until } from "./until.ts"
import { Port, serverLayer } from "./wire.ts"

/** A server on which a new leader need not wait, unless `settings` say otherwise. */
export const withServer = <A, E, R>(test: Effect.Effect<A, E, R>, settings: Partial<SettingsValues> = {}) =>
  test.pipe(Effect.scoped, Effect.provide(serverLayer({ settle: Duration.zero, ...settings }))) as Effect.Effect<A, E>

const life = fileURLToPath(new URL("life.py", import.meta.url))

/** Processes whose arguments contain the text, without zombies. */
export const processesOf = (text: string): ReadonlyArray<number> =>
  readdirSync("/proc").flatMap((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, "latin1").includes(text) ? [Number(name)] : []
    } catch {
      return []
    }
  })

/** A file in which jobs record their lives. When the scope closes, no process is left that knows the file. */
export const recordFile = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "rankd-lead-"))),
    (folder) =>
      Effect.sync(() => {
        for (const pid of processesOf(folder)) process.kill(pid, "SIGKILL")
        rmSync(folder, { recursive: true })
      })
  ),
  (folder) => join(folder, "record")
)

export interface Life {
  readonly pid: number
  readonly from: number
  readonly to: number
}

/** Each job, from its first to its last line, in the order of their starts. Times are in seconds, as `now`. */
export const livesIn = (file: string): ReadonlyArray<Life> => {
  const lives = new Map<number, Life>()
  // The file may be there before its first line.
  for (const line of existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(0, -1) : []) {
    const [pid = 0, time = 0] = line.split(" ").map(Number)
    lives.set(pid, { pid, from: lives.get(pid)?.from ?? time, to: time })
  }
  return [...lives.values()]
}

/** The monotonic clock of the machine, in seconds. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e9

/** Waits until so many jobs have started; succeeds with the last of them. */
export const started = (file: string, jobs = 1) =>
  Effect.gen(function* () {
    yield* until(() => livesIn(file).length >= jobs)
    return livesIn(file)[jobs - 1]!
  })

/** Waits until no process knows the file; succeeds with the seconds that it took. A process that is to run the job knows it. */
export const vanished = (file: string) =>
  Effect.gen(function* () {
    const start = now()
    yield* until(() => processesOf(file).length === 0)
    return now() - start
  })

/** A command that records its life. A `stubborn` one does not end at SIGTERM. */
export const job = (file: string, ...how: ReadonlyArray<"stubborn">) => ["--", "python3", life, file, ...how]

/** `rankd lead` with these arguments, at the server of the test. */
export const lead = Effect.fnUntraced(function* (args: ReadonlyArray<string>, env: Record<string, string> = {}) {
  return yield* rankd(["lead", "--port", `${yield* Port}`, ...args], env)
})

/** The state of a process: `T` if it is stopped. */
export const stateOf = (pid: number): string | undefined =>
  /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, "latin1"))?.[1]

export const parentOf = (pid: number): number | undefined => {
  try {
    return Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, "latin1"))?.[1])
  } catch {
    return undefined
  }
}

/** The processes that it has started and that have not ended. */
export const childrenOf = (pid: number): ReadonlyArray<number> => {
  try {
    return (readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").match(/\d+/g) ?? []).map(Number)
  } catch {
    return []
  }
}

/** The watchdog of a `lead`, if it has one now. */
export const watchdogOf = ({ child }: Pick<Run, "child">): number | undefined =>
  processesOf("rankd watchdog").find((pid) => parentOf(pid) === child.pid)
