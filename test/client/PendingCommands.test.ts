/** What becomes of issued commands, by the messages about them. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Stream } from "effect"
import { type OnOutput, PendingCommands } from "../../src/client/PendingCommands.ts"

const quiet = { onOutput: undefined as OnOutput | undefined, several: false, sent: true }

const open = Effect.fnUntraced(function* (pending: PendingCommands, options: Partial<typeof quiet> = {}) {
  const { onOutput, several, sent } = { ...quiet, ...options }
  const id = pending.nextId()
  const command = yield* pending.open(id, several, onOutput)
  command.sent = sent
  /** All outcomes, once the command has ended. */
  const outcomes = Stream.runCollect(Stream.fromQueue(command.outcomes))
  return { id, outcomes }
})

const result = (id: string, rank: number, output?: string) =>
  ({ _tag: "Result", id, rank, status: 0, ...(output === undefined ? {} : { output }) }) as const

describe("PendingCommands", () => {
  it.effect("ends a command to one target with its outcome, and ignores what comes after", () =>
    Effect.gen(function* () {
      const pending = new PendingCommands()
      const [one, other] = [yield* open(pending), yield* open(pending)]
      pending.result(result(one.id, 3))
      pending.result(result(one.id, 3))
      pending.done({ _tag: "Done", id: one.id, ok: 1, notOk: 0 })
      pending.broken()
      assert.deepStrictEqual(yield* one.outcomes, [{ rank: 3, status: 0 }])
      assert.deepStrictEqual(yield* other.outcomes, [{ status: "lost" }])
    })
  )

  it.effect("ends a command to several targets with Done", () =>
    Effect.gen(function* () {
      const pending = new PendingCommands()
      const { id, outcomes } = yield* open(pending, { several: true })
      pending.result(result(id, 2))
      pending.result(result(id, 1))
      pending.done({ _tag: "Done", id, ok: 2, notOk: 0 })
      assert.deepStrictEqual(yield* outcomes, [
        { rank: 2, status: 0 },
        { rank: 1, status: 0 }
      ])
    })
  )

  it.effect("tells lost from undelivered when the connection breaks, and keeps the outcomes that came", () =>
    Effect.gen(function* () {
      const pending = new PendingCommands()
      const some = yield* open(pending, { several: true })
      const unsent = yield* open(pending, { sent: false })
      pending.result(result(some.id, 1))
      pending.broken()
      assert.deepStrictEqual(yield* some.outcomes, [{ rank: 1, status: 0 }, { status: "lost" }])
      assert.deepStrictEqual(yield* unsent.outcomes, [{ status: "undelivered" }])
      // Nothing is open any more: a second break changes nothing.
      pending.broken()
      assert.isFalse(pending.withdraw(some.id))
    })
  )

  it.effect("fails a command that the server rejects as a whole", () =>
    Effect.gen(function* () {
      const pending = new PendingCommands()
      const { id, outcomes } = yield* open(pending)
      pending.rejected(id, { _tag: "Error", id, reason: "no such rank", detail: "there is no rank 7" })
      const exit = yield* Effect.exit(outcomes)
      assert.strictEqual(Exit.isFailure(exit) && Cause.pretty(exit.cause).includes("there is no rank 7"), true)
    })
  )

  it.effect("forgets a withdrawn command", () =>
    Effect.gen(function* () {
      const pending = new PendingCommands()
      const { id } = yield* open(pending)
      assert.isTrue(pending.withdraw(id))
      assert.isFalse(pending.withdraw(id))
      pending.result(result(id, 1))
      yield* pending.output({ _tag: "Output", id, rank: 1, text: "late" })
    })
  )

  it.effect("puts partial output before the outcome's, for each target by itself", () =>
    Effect.gen(function* () {
      const pending = new PendingCommands()
      const { id, outcomes } = yield* open(pending, { several: true })
      yield* pending.output({ _tag: "Output", id, rank: 1, text: "a" })
      yield* pending.output({ _tag: "Output", id, rank: 2, text: "x" })
      yield* pending.output({ _tag: "Output", id, rank: 1, text: "b" })
      pending.result(result(id, 1, "c"))
      pending.result(result(id, 2))
      pending.done({ _tag: "Done", id, ok: 2, notOk: 0 })
      assert.deepStrictEqual(yield* outcomes, [
        { rank: 1, status: 0, output: "abc" },
        { rank: 2, status: 0, output: "x" }
      ])
    })
  )

  it.effect("keeps at most a million characters of output for a target, and says that there was more", () =>
    Effect.gen(function* () {
      const limit = 1024 * 1024
      const outcomeOf = Effect.fnUntraced(function* (...texts: ReadonlyArray<string>) {
        const pending = new PendingCommands()
        const { id, outcomes } = yield* open(pending)
        for (const text of texts) yield* pending.output({ _tag: "Output", id, rank: 1, text })
        pending.result(result(id, 1, "y"))
        const [{ output, truncated } = {}] = yield* outcomes
        return { length: output?.length, truncated }
      })
      const most = "x".repeat(limit - 1)
      assert.deepStrictEqual(yield* outcomeOf(most), { length: limit, truncated: undefined })
      assert.deepStrictEqual(yield* outcomeOf(most, "x"), { length: limit, truncated: true })
      assert.deepStrictEqual(yield* outcomeOf(most, most, most), { length: limit, truncated: true })
    })
  )

  it.effect("passes partial output to onOutput instead, whatever that throws", () =>
    Effect.gen(function* () {
      const pending = new PendingCommands()
      const heard: Array<string> = []
      const onOutput: OnOutput = (rank, text) => {
        heard.push(`${rank} ${text}`)
        throw new Error("boom")
      }
      const { id, outcomes } = yield* open(pending, { onOutput })
      yield* pending.output({ _tag: "Output", id, rank: 1, text: "a" })
      pending.result(result(id, 1, "b"))
      assert.deepStrictEqual(heard, ["1 a"])
      assert.deepStrictEqual(yield* outcomes, [{ rank: 1, status: 0, output: "b" }])
    })
  )

  it("never uses an id twice", () => {
    const pending = new PendingCommands()
    assert.strictEqual(new Set(Array.from({ length: 100 }, () => pending.nextId())).size, 100)
  })
})
