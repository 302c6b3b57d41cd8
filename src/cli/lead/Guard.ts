/**
 * What guards the process group of the command while it runs: a `Watchdog`, and another one when that is lost. It owns the
 * deadline of the group; `Job` runs the command.
 *
 * Invariant: a group runs only while a watchdog knows it, and until when it must have ended.
 */
import { Deferred, Duration, Effect, Option } from "effect"
import { leaseLeft } from "../../client/Leader.ts"
import { RankClient } from "../../client/RankClient.ts"
import { after, clocks, type Deadline, isOver, until, Watchdog } from "./Watchdog.ts"

/** The watchdog hears of a longer lease within a twentieth of a heartbeat, and within this time. */
const RENEWALS_IN_HEARTBEAT = 20
const LONGEST_RENEWAL = Duration.millis(100)

/** What a timer of Node can keep to on a machine that does other work. */
const SHORTEST_RENEWAL = Duration.millis(10)

/** How often to see that the watchdog answers while no command runs. */
const TENDING = Duration.millis(500)

/** Renewals after which the watchdog hears the same again: its answer shows that it is alive. */
const REPEATED_AFTER = 5

/** How often to look whether the lease is long enough for a start. */
const LOOK = Duration.millis(20)

/** A command starts only if the lease lasts so many times as long as the command may take to end. */
const LEAST_RUN = 1.2

export class Guard {
  readonly #ranks: RankClient["Service"]
  readonly #killAfter: number
  readonly #renewal: Duration.Duration
  /** Started before this client leads, so that no command waits for it. */
  #watchdog = new Watchdog()
  #running: { readonly group: number; deadline: Deadline } | undefined

  constructor(ranks: RankClient["Service"], heartbeat: Duration.Duration, killAfter: Duration.Duration) {
    this.#ranks = ranks
    this.#killAfter = Duration.toMillis(killAfter)
    this.#renewal = Duration.clamp(Duration.millis(Duration.toMillis(heartbeat) / RENEWALS_IN_HEARTBEAT), {
      minimum: SHORTEST_RENEWAL,
      maximum: LONGEST_RENEWAL
    })
  }

  /** Whether the watchdog is lost: `ready` starts another one. */
  get isLost(): boolean {
    return this.#watchdog.isLost
  }

  /** Milliseconds for which this client may act as the leader. */
  readonly #left = Effect.suspend(() =>
    leaseLeft.pipe(
      Effect.provideService(RankClient, this.#ranks),
      Effect.map(Option.match({ onNone: () => 0, onSome: Duration.toMillis }))
    )
  )

  /** How long the group may run, and until when. The clocks are read first: a pause after that makes it earlier, and never later. */
  readonly #lease = Effect.suspend(() => {
    const now = clocks()
    return Effect.map(this.#left, (left) => ({ left, deadline: after(now, left) }))
  })

  /** Keeps a watchdog ready while no command runs. */
  readonly tend = Effect.gen({ self: this }, function* () {
    while (true) {
      yield* Effect.sleep(TENDING)
      if (this.#running !== undefined) continue
      this.#watchdog.watch(Duration.toMillis(TENDING))
      if (this.#watchdog.isLost) this.#watchdog = new Watchdog()
      else this.#watchdog.tell("verdict")
    }
  })

  /** Succeeds when the lease is long enough for a start of the command, and there is a watchdog. */
  readonly ready = Effect.gen({ self: this }, function* () {
    while ((yield* this.#left) < this.#killAfter * LEAST_RUN || (yield* this.#left) <= 0) yield* Effect.sleep(LOOK)
    if (this.#watchdog.isLost) this.#watchdog = new Watchdog()
  })

  /** Begins to guard a group. Fails when the watchdog is lost. */
  readonly begin = Effect.fnUntraced({ self: this }, function* (group: number) {
    const { deadline } = yield* this.#lease
    this.#running = { group, deadline }
    this.#watchdog.tell(`guard ${group} ${this.#killAfter}`)
    yield* this.#watchdog.ask(until(deadline))
  })

  /** Tells the watchdog again and again until when the group may run. Succeeds with why it no longer can. */
  readonly keep = Effect.gen({ self: this }, function* () {
    const renewal = Duration.toMillis(this.#renewal)
    for (let count = 1; !this.#watchdog.isLost && this.#running !== undefined; count++) {
      yield* Effect.sleep(renewal)
      this.#watchdog.watch(renewal)
      const { deadline, left } = yield* this.#lease
      // The grain of the clocks alone makes a difference.
      const isLonger = Math.abs(deadline.monotonic - this.#running.deadline.monotonic) >= renewal / 2
      if (left <= 0 || !(isLonger || count % REPEATED_AFTER === 0)) continue
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
