/** Durations when the wall clock is set, and when a process is frozen for a while. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { folder } from "../support/folder.ts"
import { job, livesIn, now, recordFile, started } from "../support/lead.ts"
import { rankd, says } from "../support/process.ts"
import { wallClock } from "../support/wallClock.ts"
import { client, Port, serverLayer } from "../support/wire.ts"

const HOUR = 3600

/** What the effect returns, and how long it takes, in milliseconds. */
const timed = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
  const start = performance.now()
  const value = yield* effect
  return { value, took: performance.now() - start }
})

const isRank = (line: string) => line.startsWith("RANK")

const token = "a-secret-of-32-characters-or-so!"

const tokenFile = Effect.map(folder, (folder) => {
  const path = join(folder, "tokens")
  writeFileSync(path, `${token}\n`)
  return path
})

describe("a wall clock that is set", { concurrent: true }, () => {
  it.live.each([["forward", 2 * HOUR] as const, ["back", -HOUR] as const])(
    "%s: commands have their time, and no more",
    ([_, seconds]) =>
      Effect.gen(function* () {
        const clock = yield* wallClock
        const server = yield* rankd(["--port", "0"], clock.env)
        const [issuer, worker] = [yield* server.connect, yield* server.connect]
        yield* worker.until(isRank)
        const exec = { _tag: "Exec", to: 1, command: "make" }
        issuer.send(JSON.stringify({ ...exec, id: "long" }), JSON.stringify({ ...exec, id: "short", timeout: 1000 }))
        yield* worker.until((line) => line.startsWith("EXEC#2"))
        clock.set(seconds)
        const { took, value } = yield* timed(issuer.until((line) => line.includes('"timeout"')))
        assert.isTrue(took > 700 && took < 3000, `${took}`)
        assert.deepStrictEqual(value.slice(1), ['{"_tag":"Result","id":"short","rank":1,"status":"timeout"}'])
        worker.send("RESULT#1 0")
        yield* issuer.until((line) => line === '{"_tag":"Result","id":"long","rank":1,"status":0}')
      }).pipe(Effect.scoped)
  )

  it.live.each([["forward", 2 * HOUR] as const, ["back", -HOUR] as const])(
    "%s: a client without a token, and open commands at a stop, have their time, and no more",
    ([_, seconds]) =>
      Effect.gen(function* () {
        const clock = yield* wallClock
        const server = yield* rankd(
          ["--port", "0", "--token-file", yield* tokenFile, "--auth-timeout", "2", "--drain", "1"],
          clock.env
        )
        const [issuer, worker, stranger] = [yield* server.connect, yield* server.connect, yield* server.connect]
        for (const wire of [issuer, worker]) wire.send(`AUTH ${token}`)
        yield* worker.until(isRank)
        issuer.send("EXEC#1 1 make")
        yield* worker.until((line) => line.startsWith("EXEC#1"))
        clock.set(seconds)
        assert.isAbove((yield* timed(stranger.until((line) => line === "BYE timed out"))).took, 1000)
        server.child.kill("SIGTERM")
        const { took } = yield* timed(issuer.until((line) => line === "BYE shutting down"))
        assert.isTrue(took > 900 && took < 3000, `${took}`)
        assert.strictEqual(yield* server.exit, 0)
      }).pipe(Effect.scoped)
  )

  it.live("an agent's command and a leader's job go on, and the next leads in time", () =>
    Effect.gen(function* () {
      const clock = yield* wallClock
      const port = yield* Port
      const to = ["--port", `${port}`]
      const file = yield* recordFile
      // Python does not start with the library that sets the clock.
      const record = ["--", "env", "-u", "LD_PRELOAD", ...job(file).slice(1)]
      const lease = ["--heartbeat", "1s", "--kill-after", "100ms"]
      const start = rankd(["lead", ...to, "--group", "jobs", ...lease, ...record], clock.env)
      const boss = yield* client
      yield* boss.until(isRank)
      boss.send("WATCH")
      const agent = yield* rankd(
        ["agent", ...to, "--name", "agent", "--allow", "sleep *", "--timeout", "60"],
        clock.env
      )
      yield* boss.until((line) => line.endsWith("agent"))
      const leader = yield* start
      boss.send("EXEC#1 @agent sleep 2")
      const { pid } = yield* started(file)
      const next = yield* start
      yield* says(next.stderr, /rank 1 of 2/)
      for (const seconds of [2 * HOUR, -HOUR]) {
        clock.set(seconds)
        yield* Effect.sleep("700 millis")
      }
      yield* boss.until((line) => line === "RESULT#1 1 0")
      assert.notMatch(agent.stderr() + leader.stderr(), /lost|timed out|again/)
      assert.deepStrictEqual(
        livesIn(file).map((life) => life.pid),
        [pid]
      )
      clock.set(2 * HOUR)
      leader.child.kill("SIGKILL")
      const killed = now()
      yield* says(next.stderr, /rank 0 of 1/)
      // Two and a half heartbeats after the last ping, of which there are two a heartbeat.
      const took = now() - killed
      assert.isTrue(took > 1.9 && took < 4, `${took}`)
      assert.isAbove((yield* started(file, 2)).from, livesIn(file)[0]!.to)
    }).pipe(Effect.scoped, Effect.provide(serverLayer({ settle: Duration.zero })))
  )
})

describe("a server that was frozen", { concurrent: true }, () => {
  const frozen = (server: { readonly child: { kill: (signal: NodeJS.Signals) => unknown } }, meanwhile: () => void) =>
    Effect.gen(function* () {
      server.child.kill("SIGSTOP")
      yield* Effect.sleep("500 millis")
      meanwhile()
      yield* Effect.sleep("1500 millis")
      server.child.kill("SIGCONT")
    })

  it.live("reads results that came meanwhile, before it times out commands", () =>
    Effect.gen(function* () {
      const server = yield* rankd(["--port", "0", "--command-timeout", "1"])
      const [issuer, worker] = [yield* server.connect, yield* server.connect]
      yield* worker.until(isRank)
      issuer.send("EXEC#x 1 make")
      yield* worker.until((line) => line.startsWith("EXEC#1"))
      yield* frozen(server, () => worker.send("RESULT#1 0 made"))
      yield* issuer.until((line) => line === "RESULT#x 1 0 made")
    }).pipe(Effect.scoped)
  )

  it.live("reads tokens that came meanwhile, before it times out clients", () =>
    Effect.gen(function* () {
      const server = yield* rankd(["--port", "0", "--token-file", yield* tokenFile, "--auth-timeout", "1"])
      const boss = yield* server.connect
      yield* Effect.sleep("100 millis")
      yield* frozen(server, () => boss.send(`AUTH ${token}`))
      yield* boss.until(isRank)
    }).pipe(Effect.scoped)
  )
})
