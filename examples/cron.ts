/**
 * A job that runs every second on one of several processes, the leader; when the
 * leader is gone, on the next.
 *
 *     tsx examples/cron.ts <host> <port> <name>
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Schedule } from "effect"
import { Leader, NodeClient } from "../src/index.ts"

const [host = "127.0.0.1", port = "5000", name = `cron-${process.pid}`] = process.argv.slice(2)

/** The epoch is the fencing token: the store that the job writes to turns away a smaller one than the largest it has seen. */
const job = (epoch: number) => Console.log(`${name} does the job, token ${epoch}`)

Leader.whileLeader((epoch) => Effect.repeat(job(epoch), Schedule.spaced("1 second"))).pipe(
  Effect.provide(NodeClient.layer({ host, port: Number(port), name })),
  NodeRuntime.runMain
)
