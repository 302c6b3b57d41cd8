/** Two `rankd lead`, and what happens to the connection of the first: two jobs never run at a time, by their own records. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { job, livesIn, recordFile, started } from "../support/lead.ts"
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
