/**
 * What guards the process group of the command while it runs: a `Watchdog`, and another one when that is lost. It owns the
 * deadline of the group; `Job` runs the command.
 *
 * Invariant: a group runs only while a watchdog knows it, and until when it must have ended.
 */
import { Deferred, Duration, Effect, Option } from "effect"
import { leaseLeft } from "../../client/Leader.ts"
import { RankClient } from "../../client/RankClient.ts"
import { type Deadline, deadlineIn, isOver, until, Watchdog } from "./Watchdog.ts"

/** How often the watchdog hears until when the group may run, if that has changed. */
const RENEWAL = Duration.millis(100)

/** Renewals after which the watchdog hears the same again: its answer shows that it is alive. */
const REPEATED_AFTER = 5

/** Changes of the deadline that are smaller, in milliseconds, come from the clocks alone. */
const GRAIN = 15

/** How often to look whether the lease is long enough for a start. */
const LOOK = Duration.millis(20)

/** How much longer than `--kill-after` the lease has to last for a start of the command, in milliseconds. */
const LEAST_RUN = 100

export class Guard {
  readonly #ranks: RankClient["Service"]
  readonly #killAfter: number
  /** Started before this client leads, so that no command waits for it. */
  #watchdog = new Watchdog()
  #running: { readonly group: number; deadline: Deadline } | undefined

  constructor(ranks: RankClient["Service"], killAfter: Duration.Duration) {
    this.#ranks = ranks
    this.#killAfter = Duration.toMillis(killAfter)
  }

  /** Milliseconds for which this client may act as the leader. */
  readonly #left = Effect.suspend(() =>
    leaseLeft.pipe(
      Effect.provideService(RankClient, this.#ranks),
      Effect.map(Option.match({ onNone: () => 0, onSome: Duration.toMillis }))
    )
  )

  /** Succeeds when the lease is long enough for a start of the command, and there is a watchdog. */
  readonly ready = Effect.gen({ self: this }, function* () {
    while ((yield* this.#left) < this.#killAfter + LEAST_RUN) yield* Effect.sleep(LOOK)
    if (this.#watchdog.isLost) this.#watchdog = new Watchdog()
  })

  /** Begins to guard a group. Fails when the watchdog is lost. */
  readonly begin = Effect.fnUntraced({ self: this }, function* (group: number) {
    const deadline = deadlineIn(yield* this.#left)
    yield* this.#watchdog.ask(`guard ${group} ${this.#killAfter}`)
    yield* this.#watchdog.ask(until(deadline))
    this.#running = { group, deadline }
  })

  /** Tells the watchdog again and again until when the group may run. Succeeds with why it no longer can. */
  readonly keep = Effect.gen({ self: this }, function* () {
    for (let unchanged = 0; !this.#watchdog.isLost && this.#running !== undefined; ) {
      yield* Effect.sleep(RENEWAL)
      this.#watchdog.watch()
      const left = yield* this.#left
      const deadline = deadlineIn(left)
      const isChanged = Math.abs(deadline.monotonic - this.#running.deadline.monotonic) > GRAIN
      unchanged = isChanged ? 0 : unchanged + 1
      if (left <= 0 || (!isChanged && unchanged % REPEATED_AFTER !== 0)) continue
      this.#running.deadline = deadline
      this.#watchdog.tell(until(deadline))
    }
    return yield* Deferred.await(this.#watchdog.lost)
  })

  /** Whether the watchdog has begun to end the group. */
  readonly hasEnded = Effect.suspend(() =>
    this.#watchdog.ask("verdict").pipe(
      Effect.map((verdict) => verdict === "stopped"),
      Effect.orElseSucceed(() => false)
    )
  )

  /** `lead` ends the group itself: the watchdog does so at the deadline alone. */
  stopping(): void {
    this.#watchdog.tell("stopping")
  }

  /** The group has ended. */
  done(): void {
    this.#running = undefined
    this.#watchdog.tell("done")
  }

  /** No group will run any more. */
  end(): void {
    this.#watchdog.end()
  }

  /** Sends a signal to the group. False if none runs. What comes after the deadline is for nobody: then the group ends. */
  passOn(signal: NodeJS.Signals): boolean {
    if (this.#running === undefined) return false
    try {
      return process.kill(-this.#running.group, isOver(this.#running.deadline) ? "SIGKILL" : signal)
    } catch {
      return false
    }
  }
}
