/**
 * A process that works while it leads, by the library's `whileLeader`, and records its work as `test/support/life.py` does.
 *
 *     tsx fault/succession/worker.ts <port> <name> <heartbeat in milliseconds> <file> [uninterruptible] [exit]
 *
 * With `exit` the process ends when its work has not ended in time.
 */
import { appendFileSync } from "node:fs"
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Logger } from "effect"
import { Leader, NodeClient } from "../../src/index.ts"
import { now } from "./records.ts"

const [port, name = "", heartbeat, file = "", ...how] = process.argv.slice(2)

const work = (epoch: number) =>
  Effect.forever(
    Effect.delay(
      Effect.sync(() => appendFileSync(file, `${process.pid} ${now() / 1000} ${epoch}\n`)),
      "10 millis"
    )
  )

Leader.whileLeader(
  (epoch) => (how.includes("uninterruptible") ? Effect.uninterruptible(work(epoch)) : work(epoch)),
  how.includes("exit") ? { onLate: "exit" } : {}
).pipe(
  Effect.provide(NodeClient.layer({ host: "127.0.0.1", port: Number(port), name, heartbeat: Number(heartbeat) })),
  Effect.provide(Logger.layer([])),
  NodeRuntime.runMain
)
