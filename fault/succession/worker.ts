/**
 * A process that works while it leads, by the library's `whileLeader`, and records its work as `test/support/life.py` does.
 *
 *     tsx fault/succession/worker.ts <port> <name> <heartbeat in milliseconds> <file> [uninterruptible] [exit]
 *
 * With `exit` the process ends when its work has not ended in time. It prints `in line` when it has a rank.
 */
import { appendFileSync } from "node:fs"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Logger, Stream, SubscriptionRef } from "effect"
import { Leader, NodeClient, RankClient } from "../../src/index.ts"
import { now } from "./records.ts"

const [port, name = "", heartbeat, file = "", ...how] = process.argv.slice(2)

const work = (epoch: number) =>
  Effect.forever(
    Effect.delay(
      Effect.sync(() => appendFileSync(file, `${process.pid} ${now() / 1000} ${epoch}\n`)),
      "10 millis"
    )
  )

const inLine = Effect.flatMap(RankClient, ({ standing }) =>
  SubscriptionRef.changes(standing).pipe(
    Stream.filter((now) => now !== undefined),
    Stream.runHead,
    Effect.andThen(Console.log("in line"))
  )
)

Leader.whileLeader(
  (epoch) => (how.includes("uninterruptible") ? Effect.uninterruptible(work(epoch)) : work(epoch)),
  how.includes("exit") ? { onLate: "exit" } : {}
).pipe(
  Effect.raceFirst(Effect.andThen(inLine, Effect.never)),
  Effect.provide(NodeClient.layer({ host: "127.0.0.1", port: Number(port), name, heartbeat: Number(heartbeat) })),
  Effect.provide(Logger.layer([])),
  NodeRuntime.runMain
)
