/**
 * Fencing: a store that refuses a leader whose time is over. The leader of several processes counts in a database, and
 * shows its token, the epoch, with each write. The store accepts only the largest token that it has seen, or a larger
 * one. So it refuses a leader that was paused, and does not know yet that another one has written since.
 *
 *     tsx examples/fencing.ts <host> <port> <name> <database>
 */
import { DatabaseSync } from "node:sqlite"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Context, Effect, Layer, Schedule, Schema } from "effect"
import { Leader, NodeClient } from "../src/index.ts"

const [host = "127.0.0.1", port = "5000", name = `fencing-${process.pid}`, file = "counter.sqlite"] =
  process.argv.slice(2)

/** A later leader has written. */
class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}

class Counter extends Context.Service<
  Counter,
  { readonly increment: (token: number) => Effect.Effect<number, Refused> }
>()("examples/Counter") {
  static readonly layer = Layer.effect(
    Counter,
    Effect.gen(function* () {
      const database = yield* Effect.acquireRelease(
        Effect.sync(() => new DatabaseSync(file, { timeout: 1000 })),
        (database) => Effect.sync(() => database.close())
      )
      database.exec("CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY, token INTEGER, count INTEGER)")
      // The comparison and the write are one statement: nothing comes between them.
      const increment = database.prepare(
        `INSERT INTO counter VALUES (1, ?, 1)
         ON CONFLICT DO UPDATE SET token = excluded.token, count = count + 1 WHERE excluded.token >= token
         RETURNING count`
      )
      return {
        increment: (token) =>
          Effect.suspend(() => {
            const row = increment.get(token)
            return row === undefined ? Effect.fail(new Refused()) : Effect.succeed(Number(row.count))
          })
      }
    })
  )
}

const count = Effect.fnUntraced(function* (token: number) {
  const { increment } = yield* Counter
  yield* Console.log(`${name} counts to ${yield* increment(token)} with token ${token}`)
})

/** A leader that the store refuses ends its work, so it steps down, and gets in line again. */
const lead = Leader.whileLeader((token) =>
  Effect.repeat(count(token), Schedule.spaced("1 second")).pipe(
    Effect.catchTag("Refused", () => Console.log(`${name} is refused with token ${token}`))
  )
)

Effect.forever(lead).pipe(
  Effect.provide([NodeClient.layer({ host, port: Number(port), name, lease: true }), Counter.layer]),
  NodeRuntime.runMain
)
