/** Two `rankd lead` and faults, chosen and random: two jobs never run at a time, by their own records. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import { job, lead, livesIn, parentOf, recordFile, started, watchdogOf, withServer } from "../support/lead.ts"
import { type Run, rankd, says } from "../support/process.ts"
import { proxy } from "../support/proxy.ts"
import { until } from "../support/until.ts"

/** Fails if two jobs ran at a time. */
const assertApart = (file: string) => {
  const lives = livesIn(file)
  for (const [at, { from }] of lives.entries()) {
    assert.isAbove(from, Math.max(0, ...lives.slice(0, at).map(({ to }) => to)), `job ${at}`)
  }
}

/** How many faults there are: more on demand. */
const FAULTS = Number(process.env.RANKD_FAULTS ?? 6)

const faults = ["lead", "watchdog", "job"].flatMap((who) => ["SIGKILL", "SIGSTOP"].map((how) => ({ who, how })))

const signal = (pid: number | undefined, how: string) =>
  Effect.ignore(Effect.try(() => pid !== undefined && process.kill(pid, how)))

describe("faults", () => {
  it.live(
    `never make two jobs run at a time, in ${FAULTS} of them`,
    () =>
      withServer(
        Effect.gen(function* () {
          const file = yield* recordFile
          const start = lead(["--heartbeat", "500ms", "--kill-after", "300ms", ...job(file, "stubborn")])
          const runs: Array<Run> = [yield* start, yield* start]
          for (let fault = 0; fault < FAULTS; fault++) {
            const { pid } = yield* started(file, Math.max(1, livesIn(file).length))
            yield* Effect.sleep(yield* Random.nextIntBetween(50, 1000))
            const { how, who } = faults[fault % faults.length]!
            // A shell is between a job and its `lead`.
            const leader = parentOf(parentOf(pid) ?? 0)
            const run = runs.find(({ child }) => child.pid === leader) ?? runs[0]!
            const victim = { lead: run.child.pid, watchdog: watchdogOf(run), job: pid }[who]
            yield* signal(victim, how)
            yield* Effect.sleep(yield* Random.nextIntBetween(100, 3000))
            yield* signal(victim, "SIGCONT")
            for (const [at, { ended }] of runs.entries()) if (ended()) runs[at] = yield* start
          }
          yield* Effect.sleep("2 seconds")
          assertApart(file)
          assert.isAbove(livesIn(file).length, 1)
        })
      ),
    { timeout: 60_000 + FAULTS * 8_000 }
  )
})

const FAST = ["--heartbeat", "800ms", "--kill-after", "200ms"]
const SERVER = ["--settle", "2"]

/** A leader behind a proxy, one that waits, and their server. */
const pair = Effect.gen(function* () {
  let server = yield* rankd(["--port", "0", ...SERVER])
  const port = (yield* server.connect).socket.remotePort!
  const between = yield* proxy(port)
  const file = yield* recordFile
  const start = (to: number) => rankd(["lead", "--group", "pair", "--port", `${to}`, ...FAST, ...job(file, "stubborn")])
  yield* start(between.port)
  const { pid } = yield* started(file)
  const second = yield* start(port)
  yield* says(second.stderr, /rank 1 of 2/)
  const restart = Effect.gen(function* () {
    server.child.kill("SIGKILL")
    yield* server.exit
    server = yield* rankd(["--port", `${port}`, ...SERVER])
  })
  return { between, file, pid, restart, second }
})

/** How often it has got a rank. */
const ranksOf = ({ stderr }: Run) => stderr().match(/rank \d of \d/g)?.length ?? 0

describe("a leader", { concurrent: true }, () => {
  it.live("has ended its job when the next one starts, after a reset that leaves it no way back", () =>
    Effect.gen(function* () {
      const { between, file } = yield* pair
      between.close()
      yield* started(file, 2)
      assertApart(file)
    }).pipe(Effect.scoped)
  )

  it.live("has ended its job when the next one starts, after a silent cut and a restart of the server", () =>
    Effect.gen(function* () {
      const { between, file, restart } = yield* pair
      between.stalled = true
      yield* restart
      yield* started(file, 2)
      assertApart(file)
    }).pipe(Effect.scoped)
  )

  it.live("continues, or has ended its job when the next one starts, after a restart of the server", () =>
    Effect.gen(function* () {
      const { file, restart, second } = yield* pair
      for (let restarts = 0; restarts < 3; restarts++) {
        const ranks = ranksOf(second)
        yield* restart
        yield* until(() => ranksOf(second) > ranks)
      }
      assertApart(file)
    }).pipe(Effect.scoped)
  )

  it.live("continues when a proxy closes its side towards the server", () =>
    Effect.gen(function* () {
      const { between, file, pid, second } = yield* pair
      for (let times = 0; times < 3; times++) {
        between.halfClose("up", "keeps open")
        yield* Effect.sleep("500 millis")
      }
      assert.deepStrictEqual(
        livesIn(file).map((life) => life.pid),
        [pid]
      )
      assert.notMatch(second.stderr(), /rank 0/)
    }).pipe(Effect.scoped)
  )
})
