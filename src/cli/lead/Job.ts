/** The command that `lead` runs while it leads: how it starts, and how it ended. */
import { isatty } from "node:tty"
import { Duration, Effect, Result, type Scope } from "effect"
import { ChildProcessSpawner } from "effect/process"
import * as Program from "../../agent/Program.ts"
import { endWith, stoppedBy } from "../signals.ts"
import { environment } from "./environment.ts"
import type { Guard } from "./Guard.ts"

/** Between a run that something else has ended and the next one. */
const PAUSE = Duration.millis(500)

const EXIT_BY_SIGTERM = 128 + 15

export interface JobOptions {
  readonly argv: ReadonlyArray<string>
  readonly killAfter: Duration.Duration
  readonly guard: Guard
  /** Reports that something else than the command itself has ended it. */
  readonly notice: (message: string) => Effect.Effect<void>
}

interface Lead {
  readonly epoch: number
  readonly member: string
}

/** A process that a signal stops ends as its command did, if the command chose its status itself. */
const endAs = ({ signal, status }: Program.Exit): void => {
  if (stoppedBy() !== undefined && signal === undefined && status !== EXIT_BY_SIGTERM) endWith(status)
}

/** One run. Succeeds with how the command ended, or with why something else has ended it. */
const once = Effect.fnUntraced(function* (
  { argv, guard, killAfter }: JobOptions,
  { epoch, member }: Lead
): Effect.fn.Return<Program.Exit | string, string, Scope.Scope | ChildProcessSpawner.ChildProcessSpawner> {
  let exit: Program.Program["exit"] = Effect.fail("not started")
  yield* Effect.addFinalizer(() => {
    guard.done()
    return Effect.exit(Effect.map(exit, endAs))
  })
  const program = yield* Program.start(yield* ChildProcessSpawner.ChildProcessSpawner, argv, {
    cwd: process.cwd(),
    env: { ...environment(), RANKD_RANK: "0", RANKD_EPOCH: `${epoch}`, RANKD_MEMBER: member },
    extendEnv: false,
    killDelay: killAfter,
    stdio: isatty(0) ? "no input" : "inherit",
    before: guard.begin
  })
  exit = program.exit
  yield* Effect.addFinalizer(() => Effect.sync(() => guard.stopping()))
  const ended = yield* Effect.raceFirst(exit, guard.keep)
  if (typeof ended === "string") return ended
  return (yield* guard.hasEnded) ? "this process was stopped for too long" : ended
})

/** Watchdogs in a row that may be lost before the command starts. Then the next machine shall lead. */
const MOST_LOST = 3

/** Runs the command until it ends by itself: again, if something else has ended it and this client still leads. */
export const run = Effect.fnUntraced(function* (options: JobOptions, lead: Lead) {
  const { guard, notice } = options
  for (let lost = 0; ; ) {
    yield* guard.ready
    const ended = yield* Effect.result(Effect.scoped(once(options, lead)))
    if (Result.isFailure(ended)) {
      if (!guard.isLost || ++lost === MOST_LOST) return yield* Effect.fail(ended.failure)
      continue
    }
    if (typeof ended.success !== "string") return ended.success
    lost = 0
    yield* notice(`${ended.success}, so the command was ended. It starts again`)
    yield* Effect.sleep(PAUSE)
  }
})
