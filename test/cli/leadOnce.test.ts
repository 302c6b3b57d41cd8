/** `rankd lead --once`: a job that several machines start, and one does. */
import { appendFileSync, existsSync, readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { lead, recordFile, withServer } from "../support/lead.ts"
import { says } from "../support/process.ts"
import { client } from "../support/wire.ts"

const linesOf = (file: string) => (existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(0, -1) : [])

/** The less of the lease the end of the command needs, the longer the machine of the test may be busy with other work. */
const patient = ["--kill-after", "500ms"]
const once = [...patient, "--once"]

/** A job that writes a line, and ends with a status: at once, or when `go` says so. */
const noting = (file: string, line: string, when: "at once" | "later", status = 0) => {
  const wait = when === "later" ? `while ! [ -e ${file}.go ]; do sleep 0.05; done; ` : ""
  return ["--", "sh", "-c", `echo ${line} >>${file}; ${wait}exit ${status}`]
}

const go = (file: string) => Effect.sync(() => appendFileSync(`${file}.go`, ""))

/** `lead` once its job runs. */
const leading = Effect.fnUntraced(function* (args: ReadonlyArray<string>, file: string, lines = 1) {
  const run = yield* lead(args)
  while (linesOf(file).length < lines) yield* Effect.sleep("10 millis")
  return run
})

const waiting = Effect.fnUntraced(function* (args: ReadonlyArray<string>) {
  const run = yield* lead(args)
  yield* says(run.stderr, /rank [1-9] of/)
  return run
})

describe("lead --once", { concurrent: true }, () => {
  it.live("runs the command on one machine, and ends with 0 on all of them", () =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        const one = yield* leading([...once, ...noting(file, "one", "later")], file)
        const two = yield* waiting([...once, ...noting(file, "two", "at once")])
        const three = yield* waiting([...once, ...noting(file, "three", "at once")])
        yield* go(file)
        assert.deepStrictEqual([yield* one.exit, yield* two.exit, yield* three.exit], [0, 0, 0])
        assert.deepStrictEqual(linesOf(file), ["one"])
      })
    )
  )

  it.live.each(["fails", "is killed"])("runs it on the next machine if the first one %s", (how) =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        const one = yield* leading([...once, ...noting(file, "one", "later", 7)], file)
        const two = yield* waiting([...once, ...noting(file, "two", "at once")])
        if (how === "is killed") one.child.kill("SIGKILL")
        else yield* go(file)
        assert.strictEqual(yield* one.exit, how === "fails" ? 7 : null)
        assert.strictEqual(yield* two.exit, 0)
        assert.deepStrictEqual(linesOf(file), ["one", "two"])
      })
    )
  )

  it.live("keeps the result for --once-for: a machine that starts late ends with 0", () =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        const one = yield* leading([...patient, "--once-for", "10s", ...noting(file, "one", "at once")], file)
        const two = yield* lead([...once, ...noting(file, "two", "at once")])
        assert.strictEqual(yield* two.exit, 0)
        assert.isFalse(one.ended())
        assert.strictEqual(yield* one.exit, 0)
        assert.deepStrictEqual(linesOf(file), ["one"])
        const three = yield* lead([...once, ...noting(file, "three", "at once")])
        assert.strictEqual(yield* three.exit, 0)
        assert.deepStrictEqual(linesOf(file), ["one", "three"])
      })
    )
  )

  it.live("ends with 0 when a signal comes while it keeps the result", () =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        const one = yield* leading([...patient, "--once-for", "1h", ...noting(file, "one", "at once")], file)
        yield* Effect.sleep("1 second")
        one.child.kill("SIGTERM")
        assert.strictEqual(yield* one.exit, 0)
      })
    )
  )

  it.live("believes the leader alone, and under no epoch that is still to come", () =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        appendFileSync(file, "")
        const leader = yield* client
        const [, , epoch = "0"] = (yield* leader.until((line) => line.startsWith("RANK"))).at(-1)!.split(" ").slice(1)
        const other = yield* client
        yield* other.until((line) => line.startsWith("RANK"))
        const run = yield* waiting([...once, ...noting(file, "x", "at once")])
        other.send(`EXEC#1 2 rankd lead: done under epoch ${epoch}`)
        yield* other.until((line) => line === "RESULT#1 2 denied")
        leader.send(`EXEC#1 2 rankd lead: done under epoch 9007199254740991`)
        yield* leader.until((line) => line === "RESULT#1 2 denied")
        assert.isFalse(run.ended())
        leader.send(`EXEC#2 2 rankd lead: done under epoch ${epoch}`)
        yield* leader.until((line) => line === "RESULT#2 2 0")
        assert.strictEqual(yield* run.exit, 0)
        assert.deepStrictEqual(linesOf(file), [])
      })
    )
  )
})
