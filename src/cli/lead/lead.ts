/** `rankd lead -- <command>`: runs a command on one of several machines, and on the next one when that one fails. */
import { Console, Duration, Effect, Option, SubscriptionRef } from "effect"
import { Argument, Command } from "effect/cli"
import { unstartable } from "../../agent/unstartable.ts"
import { awaitLeader, whileLeader } from "../../client/Leader.ts"
import { RankClient } from "../../client/RankClient.ts"
import * as Client from "../connection/client.ts"
import { ExitStatus, NotRun, Unusable } from "../connection/failures.ts"
import { type Connecting, rows as connectionRows } from "../connection/flags.ts"
import { notices } from "../connection/notices.ts"
import { duration, inUnits, onOff } from "../flags/kinds.ts"
import { flagsOf, optional, type ValuesOf, withDefault } from "../flags/rows.ts"
import { say } from "../say.ts"
import * as Spawner from "../spawner.ts"
import { json } from "../terminal/text.ts"
import { Guard } from "./Guard.ts"
import * as Job from "./Job.ts"
import { Once } from "./Once.ts"
import { passSignalsOn } from "./passSignalsOn.ts"
import { withTimestamps } from "./timestamps.ts"
import { reportBlocking, waitsAt } from "./waiting.ts"

const HEARTBEAT = Duration.seconds(2)
const KILL_AFTER = Duration.seconds(2)
const MAX_HEARTBEAT = Duration.hours(1)
const MAX_TIMEOUT = Duration.days(365)
const MAX_ONCE_FOR = Duration.days(7)

/** The flags that only this command has. */
export const rows = {
  heartbeat: withDefault(
    {
      name: "heartbeat",
      kind: duration(Duration.millis(100), MAX_HEARTBEAT),
      shown: "2s",
      help: "How often this client and the server hear from each other. If this machine fails, the next one starts the command 2.5 heartbeats later. A server takes at most 1/2.5 of its `--settle`: 2s by default"
    },
    HEARTBEAT
  ),
  killAfter: optional({
    name: "kill-after",
    kind: duration(Duration.zero, MAX_HEARTBEAT),
    shown: "2s, or a heartbeat if that is less",
    help: "How long the command may take to end after SIGTERM, a heartbeat at most. Then SIGKILL ends it"
  }),
  once: withDefault(
    {
      name: "once",
      kind: onOff,
      shown: "",
      help: "The job is done when the command has exited with 0 on one machine: the others exit with 0, too. It runs at least once: again if its machine fails before the others know"
    },
    false
  ),
  onceFor: optional({
    name: "once-for",
    kind: duration(Duration.zero, MAX_ONCE_FOR),
    help: "Like `--once`, and the machine that has done the job stays so long, so that machines that start late exit with 0"
  }),
  timeout: optional({
    name: "timeout",
    kind: duration(Duration.zero, MAX_TIMEOUT),
    help: "Exit with status 75 if this client does not lead within this time"
  })
}

type Options = Connecting & ValuesOf<typeof rows> & { readonly command: ReadonlyArray<string> }

const unusable = (message: string) => new Unusable({ message })

const killAfterOf = Effect.fnUntraced(function* ({ heartbeat, killAfter }: Options) {
  if (Option.isNone(killAfter)) return Duration.min(KILL_AFTER, heartbeat)
  if (Duration.isLessThanOrEqualTo(killAfter.value, heartbeat)) return killAfter.value
  const [given, longest] = [inUnits(killAfter.value), inUnits(heartbeat)]
  return yield* unusable(
    `--kill-after ${given}: longer than --heartbeat, ${longest}. The command must end while the lease runs`
  )
})

/** What SIGKILL ends takes a moment. Each such moment makes the break shorter that a connection may have. */
const END_WITHIN = Duration.millis(100)

/** EX_TEMPFAIL of sysexits.h. */
const EX_TEMPFAIL = 75

/** Fails if this client does not lead in time. */
const stopWaiting = ({ json, timeout }: Options) =>
  Option.match(timeout, {
    onNone: () => Effect.never,
    onSome: (limit) =>
      awaitLeader.pipe(
        Effect.timeoutOrElse({
          duration: limit,
          orElse: () =>
            Effect.andThen(
              say(json, "Failed", `not the leader within ${inUnits(limit)}`),
              new ExitStatus({ status: EX_TEMPFAIL })
            )
        }),
        Effect.andThen(Effect.never)
      )
  })

/** That of a shell. A folder in which nothing starts counts as a file that may not be executed. */
const statusOf = (status: 126 | 127 | "failed"): number => (status === "failed" ? 126 : status)

const lead = Effect.fnUntraced(
  function* (options: Options, killAfter: Duration.Duration, once: Once | undefined) {
    const file = options.command[0] ?? ""
    const ranks = yield* RankClient
    const guard = yield* Effect.acquireRelease(
      Effect.sync(() => new Guard(ranks, options.heartbeat, killAfter)),
      (guard) => Effect.sync(() => guard.end())
    )
    yield* Effect.forkScoped(guard.tend)
    const notice = (message: string) => say(options.json, "Notice", message)
    const job: Job.JobOptions = { argv: options.command, killAfter, guard, notice }
    yield* passSignalsOn(guard, notice)
    yield* notices(options, ranks, waitsAt(ranks))
    yield* reportBlocking(ranks, notice)
    const notRun = (reason: string, status = 127) => new NotRun({ status, message: `cannot run ${file}: ${reason}` })
    const work = Effect.fnUntraced(function* (epoch: number) {
      const problem = yield* unstartable(file, process.cwd(), process.env.PATH ?? "")
      if (problem !== undefined) return yield* notRun(problem.reason, statusOf(problem.status))
      const member = SubscriptionRef.getUnsafe(ranks.standing)?.member ?? ""
      const running = Effect.mapError(Job.run(job, { epoch, member }), (reason) => notRun(reason))
      return yield* once === undefined ? running : once.run(ranks, epoch, running)
    })
    const stopWithin = Duration.sum(killAfter, Duration.min(Duration.times(options.heartbeat, 0.1), END_WITHIN))
    const { signal, status } = yield* Effect.raceAllFirst([
      whileLeader(work, { stopWithin }).pipe(Effect.catchTag("Rejected", ({ message }) => unusable(message))),
      once?.elsewhere ?? Effect.never,
      stopWaiting(options)
    ])
    if (signal !== undefined) {
      yield* Console.error(
        options.json ? json({ _tag: "Ended", status, signal }) : `rankd: ended by ${signal}: ${file}`
      )
    }
    if (status !== 0) return yield* new ExitStatus({ status })
  },
  Effect.scoped,
  (effect, options, _, once) =>
    Effect.provide(effect, Client.layer(options, once?.handler, { heartbeat: options.heartbeat, lease: true })),
  // Outermost, so that it outlives every process.
  Effect.provide(Spawner.layer)
)

const run = Effect.fnUntraced(function* (options: Options) {
  if (options.command[0] === "") return yield* unusable("<command> is empty")
  const killAfter = yield* killAfterOf(options)
  const isOnce = options.once || Option.isSome(options.onceFor)
  const once = isOnce ? new Once(Option.getOrElse(options.onceFor, () => Duration.zero)) : undefined
  yield* withTimestamps(options.json, lead(options, killAfter, once))
})

export const command = Command.make(
  "lead",
  {
    ...flagsOf({ ...connectionRows, ...rows }),
    command: Argument.String("command").pipe(
      Argument.variadic({ min: 1 }),
      Argument.withDescription(
        "Command to run and its arguments, after --. It gets standard input from a pipe or a file; on a terminal its input is empty"
      )
    )
  },
  run
).pipe(
  Command.withDescription("Run a command while this client has rank 0, and exit with its status"),
  Command.withExamples([
    {
      command: "rankd lead --group worker --name $HOSTNAME -- ./worker",
      description: "A daemon: run this on several machines. One does the work, and the next one when that one fails"
    },
    {
      command: "rankd lead --group backup --once-for 10m --timeout 1h -- ./backup.sh",
      description: "For cron on several machines: one of them runs the backup, and the others wait until it is done"
    }
  ])
)
