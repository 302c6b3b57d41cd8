/**
 * A process that leads when it can: it prints `<name> waits` once it is ranked below the leader, then
 * `<name> works` ten times a second while it leads, and `<name> stops` when it must stop.
 *
 *     tsx test/support/candidate.ts <port> <name> <heartbeat in milliseconds>
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Logger, Schedule, Stream, SubscriptionRef } from "effect"
import { Leader, NodeClient, RankClient } from "../../src/index.ts"

const [port, name = "", heartbeat] = process.argv.slice(2)

const work = Effect.repeat(Console.log(`${name} works`), Schedule.spaced("100 millis"))

const waiting = Effect.flatMap(RankClient, ({ standing }) =>
  SubscriptionRef.changes(standing).pipe(
    Stream.filter((now) => now !== undefined && now.rank > 0),
    Stream.runHead,
    Effect.andThen(Console.log(`${name} waits`))
  )
)

Leader.whileLeader(() => Effect.onInterrupt(work, () => Console.log(`${name} stops`))).pipe(
  Effect.raceFirst(Effect.andThen(waiting, Effect.never)),
  Effect.provide(NodeClient.layer({ host: "127.0.0.1", port: Number(port), name, heartbeat: Number(heartbeat) })),
  Effect.provide(Logger.layer([])),
  NodeRuntime.runMain
)
