/** What the environment of a process may lack. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { rankdCommand, shell } from "../support/process.ts"
import { terminal } from "../support/tmux.ts"
import { Port, serverLayer } from "../support/wire.ts"

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
