/** That `rankd lead` never leaves its command behind, and that two commands never run at a time: by their own records. */
import { execFileSync } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { gone, type Run, rankd, says } from "../support/process.ts"
import { Port, serverLayer } from "../support/wire.ts"

const withServer = <A, E, R>(test: Effect.Effect<A, E, R>) =>
  test.pipe(Effect.scoped, Effect.provide(serverLayer())) as Effect.Effect<A, E>

const life = fileURLToPath(new URL("../support/life.py", import.meta.url))

/** Processes whose arguments contain the text. */
const processesOf = (text: string): ReadonlyArray<number> =>
  readdirSync("/proc").flatMap((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, "latin1").includes(text) ? [Number(name)] : []
    } catch {
      return []
    }
  })

/** A file in which jobs record their lives. When the scope closes, no process is left that knows the file. */
const recordFile = Effect.map(
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

interface Life {
  readonly pid: number
  readonly from: number
  readonly to: number
}

/** Each job, from its first to its last line, in the order of their starts. */
const livesIn = (file: string): ReadonlyArray<Life> => {
  const lives = new Map<number, Life>()
  for (const line of existsSync(file) ? readFileSync(file, "utf8").trimEnd().split("\n") : []) {
    const [pid = 0, time = 0] = line.split(" ").map(Number)
    lives.set(pid, { pid, from: lives.get(pid)?.from ?? time, to: time })
  }
  return [...lives.values()]
}

/** Waits until so many jobs have started. */
const started = (file: string, jobs: number) =>
  Effect.gen(function* () {
    while (livesIn(file).length < jobs) yield* Effect.sleep("10 millis")
    return livesIn(file)[jobs - 1]!
  })

const job = (file: string, ...how: ReadonlyArray<string>) => ["--", "python3", life, file, ...how]

const lead = Effect.fnUntraced(function* (args: ReadonlyArray<string>) {
  return yield* rankd(["lead", "--port", `${yield* Port}`, ...args])
})

const now = () => Number(process.hrtime.bigint()) / 1e9

/** The children of a process. */
const childrenOf = ({ child }: Run): ReadonlyArray<number> =>
  readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim().split(" ").map(Number)

const watchdogOf = (run: Run): number =>
  childrenOf(run).find((pid) => readFileSync(`/proc/${pid}/cmdline`, "latin1").startsWith("rankd watchdog"))!

describe("a job", () => {
  it.live.each(["KILL", "PWR", "IO", "STKFLT", "RTMIN+3", "RTMAX", "SEGV"])(
    "does not outlive its `lead` that SIG%s ends",
    (signal) =>
      withServer(
        Effect.gen(function* () {
          const file = yield* recordFile
          const run = yield* lead(job(file, "stubborn"))
          yield* started(file, 1)
          const watchdog = watchdogOf(run)
          execFileSync("bash", ["-c", `kill -${signal} ${run.child.pid}`])
          const at = now()
          yield* Effect.sleep("1 second")
          assert.deepStrictEqual(processesOf(file), [])
          assert.isBelow(livesIn(file)[0]!.to, at + 1)
          yield* gone(watchdog)
        })
      )
  )

  it.live("ends within the lease of a `lead` that is stopped, though it does not heed SIGTERM", () =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        const run = yield* lead(["--heartbeat", "500ms", "--kill-after", "300ms", ...job(file, "stubborn")])
        yield* started(file, 1)
        run.child.kill("SIGSTOP")
        const at = now()
        yield* Effect.sleep("2 seconds")
        assert.deepStrictEqual(
          processesOf(file).filter((pid) => pid !== run.child.pid),
          []
        )
        assert.isBelow(livesIn(file)[0]!.to, at + 1)
        assert.isAbove(livesIn(file)[0]!.to, at + 0.2)
        run.child.kill("SIGCONT")
        // It leads again, and runs the command again.
        yield* started(file, 2)
      })
    )
  )

  it.live("ends when its watchdog dies, and runs again under another watchdog", () =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        const run = yield* lead(job(file))
        const { pid } = yield* started(file, 1)
        process.kill(watchdogOf(run), "SIGKILL")
        const at = now()
        yield* gone(pid)
        assert.isBelow(livesIn(file)[0]!.to, at + 1)
        yield* started(file, 2)
        run.child.kill("SIGKILL")
        yield* Effect.sleep("1 second")
        assert.deepStrictEqual(processesOf(file), [])
        assert.match(run.stderr(), /the watchdog has ended, so the command was ended\. It starts again/)
      })
    )
  )

  it.live("ends when its watchdog is stopped, and does not answer", () =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        const run = yield* lead(job(file))
        const { pid } = yield* started(file, 1)
        const watchdog = watchdogOf(run)
        process.kill(watchdog, "SIGSTOP")
        yield* gone(pid)
        yield* gone(watchdog)
        yield* says(run.stderr, /the watchdog does not answer/)
      })
    )
  )
})
