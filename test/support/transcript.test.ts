/** What the runner of transcripts makes of those that are wrong: a test that says so must be able to. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { connect, server } from "./memoryServer.ts"
import { transcript, wireTranscript } from "./transcript.ts"
import { serverLayer } from "./wire.ts"

/** The transcript, and what happened, where they differ. */
const difference = <R>(played: Effect.Effect<void, never, R>) =>
  Effect.map(Effect.flip(Effect.catchDefect(Effect.as(played, "no difference"), Effect.fail)), (error) => {
    const { actual, expected, message } = error as Error & Record<"actual" | "expected", string>
    return { message, expected: expected.split("\n"), actual: actual.split("\n") }
  })

describe("a transcript in memory", () => {
  it.effect("passes where everybody hears just what it says", () =>
    transcript(`
      # A client connects when it first appears.
      a  RANK 0 1 1 m1
      b c> connect
      b> NAME bea
      b  NAMED 1 m2 bea
      a> EXEC @bea x
      a> EXEC * y
      b  EXEC 0 x
      b  EXEC 0 y
      c  EXEC 0 y
      a  (nothing)
      -- 1 second
      a> (end)
      a  (closed)
      b  RANK 0 2 1000000 m2
      c  RANK 1 2 1000000 m3
    `).pipe(server())
  )

  it.effect("shows a line that is another, and what everybody heard besides", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      const text = `
        a> EXEC 1 x
        b  EXEC 0 y
        a  (nothing)
      `
      assert.deepStrictEqual(yield* difference(transcript(text, { a, b })), {
        message: "step 2 of 3 of a transcript",
        expected: ["a> EXEC 1 x", "b  EXEC 0 y"],
        actual: ["a> EXEC 1 x", "b  EXEC 0 x"]
      })
    }).pipe(server())
  )

  it.effect.each([
    ["a> PING\nb  PONG", ["a> PING", "b  (nothing)", "a  PONG"]],
    ["a> PING\na  (nothing)", ["a> PING", "a  PONG"]],
    ["a> PING\na  (closed)", ["a> PING", "a  PONG"]],
    ["a> UNWATCH\na  (closed)", ["a> UNWATCH", "a  (open)"]],
    ["a> PING\na> EXEC 1 x", ["a> PING", "a> EXEC 1 x", "a  PONG", "b  EXEC 0 x"]]
  ] as const)("shows what was heard, or was not, instead: %j", ([text, actual]) =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      assert.deepStrictEqual((yield* difference(transcript(text, { a, b }))).actual, [...actual])
    }).pipe(server())
  )
})

describe("a transcript on sockets", () => {
  it.live("takes the printed epochs, ports and resume tokens for those of the run", () =>
    wireTranscript(`
      a> nc 127.0.0.1 5000
      a  RANK 0 1 1767348000000001 m1
      b> nc 127.0.0.1 5000
      b  RANK 1 2 1767348000000002 m2
      a> {"_tag":"Exec","to":"1","command":"x","epoch":1767348000000002}
      b  EXEC 0 x
      b> RANKS
      b  MEMBER 0 m1 - 127.0.0.1:50001
      b  MEMBER 1 m2 - 127.0.0.1:50002
      b  END 2 1767348000000002
      b> QUIT
      b  BYE quit
      b  (closed)
    `).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )

  it.live("does not take one epoch for two", () =>
    Effect.gen(function* () {
      const text = `
        a  RANK 0 1 7 m1
        b  RANK 1 2 8 m2
        b> RANKS
        b  MEMBER 0 m1 - 127.0.0.1:1
        b  MEMBER 1 m2 - 127.0.0.1:2
        b  END 2 7
      `
      assert.deepStrictEqual((yield* difference(wireTranscript(text))).actual.at(-1), "b  END 2 8")
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )

  it.live("shows what somebody heard in the end", () =>
    Effect.gen(function* () {
      const text = `
        a b> connect
        a> EXEC 1 x
        a> PING
        a  PONG
      `
      assert.deepStrictEqual((yield* difference(wireTranscript(text))).actual.at(-1), "b  EXEC 0 x")
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )
})
