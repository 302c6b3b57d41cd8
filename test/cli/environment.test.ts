/** What the environment of a process may lack. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { rankdCommand, shell } from "../support/process.ts"
import { terminal } from "../support/tmux.ts"
import { client, Port, serverLayer } from "../support/wire.ts"

/** As a user that the system does not know, with no HOME: a container with a random user id. */
const asNobody = `env -u HOME -u RANKD_HISTORY ${
  process.getuid?.() === 0
    ? "setpriv --reuid 54321 --regid 54321 --clear-groups"
    : "unshare --user --map-user=54321 --map-group=54321"
}`

describe("without a home", { concurrent: true }, () => {
  it.live("every command starts", () =>
    Effect.gen(function* () {
      for (const args of ["--version", "help connect", "token --name x"]) {
        const run = yield* shell(`${asNobody} ${rankdCommand} ${args}`)
        assert.strictEqual(yield* run.exit, 0)
        assert.notMatch(run.stderr(), /^ +at |Error/m)
      }
      const server = yield* shell(`exec ${asNobody} ${rankdCommand} --port 0`)
      yield* (yield* server.connect).until((line) => line.startsWith("RANK 0 1 "))
    }).pipe(Effect.scoped)
  )

  it.live("a prompt keeps no history", () =>
    Effect.gen(function* () {
      const { shows, type } = yield* terminal(`${asNobody} ${rankdCommand} connect --port ${yield* Port}`)
      yield* shows(/rank 0 of 1>/)
      yield* type("PING x", "Enter")
      yield* shows(/PONG x/)
      yield* type("C-d")
      yield* shows(/\[exit 0\]/)
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )
})

describe("a folder that may not be entered", { concurrent: true }, () => {
  /** A folder, and one in it. */
  const folders = Effect.acquireRelease(
    Effect.sync(() => {
      const outer = mkdtempSync(join(tmpdir(), "rankd-closed-"))
      const inner = join(outer, "inner")
      mkdirSync(inner)
      return { outer, inner }
    }),
    ({ outer }) =>
      Effect.sync(() => {
        chmodSync(outer, 0o700)
        rmSync(outer, { recursive: true })
      })
  )

  it.live.each(["outer", "inner"] as const)("is named by an agent: %s", (which) =>
    Effect.gen(function* () {
      const { [which]: cwd, outer } = yield* folders
      const boss = yield* client
      boss.send("WATCH")
      chmodSync(outer, 0)
      yield* shell(`exec ${asNobody} ${rankdCommand} agent --port ${yield* Port} --allow true --cwd ${cwd}`)
      yield* boss.until((line) => line.startsWith("JOINED"))
      boss.send("EXEC#1 1 true")
      const lines = yield* boss.until((line) => line.startsWith("RESULT#1"))
      // Before its welcome a client does not know that its lines may be long: the output may come in pieces.
      const pieces = lines.map((line) => /^(?:OUTPUT#1 1|RESULT#1 1 failed) (.*)$/.exec(line)?.[1] ?? "")
      assert.strictEqual(pieces.join(""), `true: the folder ${cwd} may not be entered\\n`)
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )
})
