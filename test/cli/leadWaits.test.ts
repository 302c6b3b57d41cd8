/** What `rankd lead` says while it waits, and what its command notices of a connection that breaks: nothing. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { job, lead, livesIn, recordFile, started, withServer } from "../support/lead.ts"
import { rankd, says } from "../support/process.ts"
import { proxy } from "../support/proxy.ts"
import { client, Port } from "../support/wire.ts"

/** A client without a lease, at rank 0. */
const person = Effect.gen(function* () {
  const wire = yield* client
  yield* wire.until((line) => line.startsWith("RANK 0"))
  return wire
})

const noticesIn = (stderr: string) =>
  stderr
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line))

describe("lead that waits", { concurrent: true }, () => {
  it.live("says how long a server that has just started makes it wait", () =>
    withServer(
      Effect.gen(function* () {
        const text = yield* lead(["--group", "text", "--", "echo", "leads"])
        const json = yield* lead(["--group", "json", "--json", "--", "echo", "leads"])
        yield* says(
          text.stderr,
          /rank 0 of 1 in group text, as m\d; waits [3-6]\d\.\ds: an earlier leader may still work\n/
        )
        yield* says(json.stderr, /Ranked/)
        const [{ leadIn }] = noticesIn(json.stderr())
        assert.isTrue(leadIn > 30_000 && leadIn <= 60_000, `${leadIn}`)
        assert.strictEqual(text.stdout(), "")
      }),
      { settle: Duration.minutes(1) }
    )
  )

  it.live("says that a member without a lease blocks the election, until that leaves", () =>
    withServer(
      Effect.gen(function* () {
        const first = yield* person
        first.send("NAME ops")
        const text = yield* lead(["--", "echo", "leads"])
        const json = yield* lead(["--json", "--", "true"])
        const blocked = "m1 (ops) has rank 0 and no lease: nobody leads until it leaves or steps down"
        yield* says(text.stderr, new RegExp(` ${blocked.replaceAll(/[()]/g, "\\$&")}\n`))
        yield* says(json.stderr, /Notice/)
        assert.deepInclude(noticesIn(json.stderr()).at(-1), { _tag: "Notice", message: blocked })
        first.send("QUIT")
        assert.strictEqual(yield* text.exit, 0)
        assert.strictEqual(yield* json.exit, 0)
        assert.deepStrictEqual(text.stderr().match(/no lease/g), ["no lease"])
      })
    )
  )

  it.live("says nothing of that kind about a leader", () =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        yield* lead(job(file))
        yield* started(file)
        const second = yield* lead(["--timeout", "2s", "--", "true"])
        assert.strictEqual(yield* second.exit, 75)
        assert.notMatch(second.stderr(), /lease|waits/)
      })
    )
  )
})

describe("a connection that breaks", { concurrent: true }, () => {
  it.live("is made again within the lease, again and again, while the command continues", () =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        const between = yield* proxy(yield* Port)
        const run = yield* rankd(["lead", "--port", `${between.port}`, ...job(file)])
        const { pid } = yield* started(file)
        const ranked = () => run.stderr().match(/rank 0 of 1/g)?.length ?? 0
        for (let resets = 1; resets <= 5; resets++) {
          between.cut()
          while (ranked() <= resets) yield* Effect.sleep("10 millis")
        }
        assert.deepStrictEqual(
          livesIn(file).map((life) => life.pid),
          [pid]
        )
        // The server's lead-in is for others.
        assert.notMatch(run.stderr(), /waits|was ended/)
      })
    )
  )
})
