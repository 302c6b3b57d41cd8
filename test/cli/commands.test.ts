/** The commands that connect to a server, as processes. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { rankd, says } from "../support/process.ts"
import { client, Port, serverLayer } from "../support/wire.ts"

const withServer = <A, E, R>(test: Effect.Effect<A, E, R>) =>
  test.pipe(Effect.scoped, Effect.provide(serverLayer())) as Effect.Effect<A, E>

const to = Effect.map(Port, (port) => ["--port", `${port}`] as const)

describe("rankd ranks", { concurrent: true, timeout: 60_000 }, () => {
  it.live("lists the members, for people and for programs", () =>
    withServer(
      Effect.gen(function* () {
        const first = yield* client
        first.send("NAME boss")
        yield* first.until((line) => line.startsWith("NAMED"))
        const table = yield* rankd(["ranks", ...(yield* to), "--name", "lister"])
        assert.strictEqual(yield* table.exit, 0)
        assert.deepStrictEqual(
          table
            .stdout()
            .trimEnd()
            .split("\n")
            .map((row) => row.replace(/127.0.0.1:[0-9]+/, "HERE")),
          ["RANK  MEMBER  NAME    ADDRESS", "0     m1      boss    HERE", "1     m2      lister  HERE (this command)"]
        )
        const json = yield* rankd(["ranks", ...(yield* to), "--json"])
        assert.strictEqual(yield* json.exit, 0)
        const listed = json
          .stdout()
          .trimEnd()
          .split("\n")
          .map((line) => JSON.parse(line))
        assert.deepStrictEqual(listed[0], { rank: 0, member: "m1", name: "boss", address: first.address })
        assert.strictEqual(listed.length, 2)
      })
    )
  )

  it.live("says so, and exits 69, when there is no server", () =>
    Effect.gen(function* () {
      const run = yield* rankd(["ranks", "--port", "1"])
      assert.strictEqual(yield* run.exit, 69)
      assert.match(run.stderr(), /^rankd: no answer from 127\.0\.0\.1:1\. Start a server there with rankd serve.*\n$/)
    }).pipe(Effect.scoped)
  )
})

describe("rankd lead", { concurrent: true, timeout: 60_000 }, () => {
  it.live("runs the command with the epoch, and ends with its exit status", () =>
    withServer(
      Effect.gen(function* () {
        const run = yield* rankd([
          "lead",
          ...(yield* to),
          "--",
          "sh",
          "-c",
          'echo "$RANKD_RANK $RANKD_EPOCH $RANKD_MEMBER"; exit 7'
        ])
        assert.strictEqual(yield* run.exit, 7)
        assert.match(run.stdout(), /^0 [0-9]+ m1\n$/)
        const missing = yield* rankd(["lead", ...(yield* to), "--", "no-such-command"])
        assert.strictEqual(yield* missing.exit, 127)
        assert.strictEqual(missing.stderr(), "rankd: cannot run no-such-command: NotFound\n")
      })
    )
  )

  it.live("goes on elsewhere when the leader is killed, and stops what it runs when it is told to end", () =>
    withServer(
      Effect.gen(function* () {
        const command = [
          "--",
          "sh",
          "-c",
          'trap "echo stopped; exit 0" TERM; echo "leads $RANKD_EPOCH"; while :; do sleep 0.05; done'
        ]
        const one = yield* rankd(["lead", ...(yield* to), ...command])
        yield* says(one.stdout, /leads/)
        const two = yield* rankd(["lead", ...(yield* to), ...command])
        yield* Effect.sleep("500 millis")
        assert.strictEqual(two.stdout(), "")
        one.child.kill("SIGTERM")
        assert.strictEqual(yield* one.exit, 0)
        assert.match(one.stdout(), /^leads [0-9]+\nstopped\n$/)
        yield* says(two.stdout, /leads/)
        const epoch = (output: string) => Number(/leads ([0-9]+)/.exec(output)![1])
        assert.isAbove(epoch(two.stdout()), epoch(one.stdout()))
      })
    )
  )

  it.live("kills what does not end in five seconds", () =>
    withServer(
      Effect.gen(function* () {
        const stubborn = yield* rankd([
          "lead",
          ...(yield* to),
          "--",
          "sh",
          "-c",
          'trap "" TERM; echo "pid $$"; while :; do sleep 0.05; done'
        ])
        yield* says(stubborn.stdout, /pid/)
        const pid = Number(/pid ([0-9]+)/.exec(stubborn.stdout())![1])
        const start = Date.now()
        stubborn.child.kill("SIGTERM")
        yield* stubborn.exit
        assert.isAtLeast(Date.now() - start, 4000)
        assert.throws(() => process.kill(pid, 0))
      })
    )
  )
})
