/**
 * `--once`: a job that is done when its command has exited with 0 on one machine of the group. The leader then says so to every
 * member, with a command that other clients deny, and they end with 0, too.
 *
 * Invariants: the word counts only if the server says that it comes from rank 0, and if its epoch is neither larger than the
 * present one nor older than a lead of this client itself. A leader that dies before all have heard it leaves the job undone for
 * them: they run it again. So the command runs at least once.
 */
import { Deferred, Duration, Effect, Schedule, Stream } from "effect"
import type { Exit } from "../../agent/Program.ts"
import type { Handler } from "../../client/Executor.ts"
import type { Listed } from "../../client/memberList.ts"
import type { RankClient } from "../../client/RankClient.ts"
import { endWith, stoppedBy } from "../signals.ts"

const WORD = "rankd lead: done under epoch "

const epochIn = (command: string): number | undefined => {
  const [, epoch] = /^rankd lead: done under epoch (\d+)$/.exec(command) ?? []
  return epoch === undefined ? undefined : Number(epoch)
}

/** How long a member may take to answer. */
const ANSWER_TIMEOUT = Duration.seconds(2)

/** The answers of a member that has heard the word, and of one that `--once` does not concern. */
const ANSWERS: ReadonlySet<string | number> = new Set([0, "denied"])

const UNHEARD = "unheard"

/** What is lost with a connection is said again when there is another one; a member that has left hears nothing. */
const RETRIES = { times: 3, schedule: Schedule.spaced("500 millis"), while: (error: unknown) => error === UNHEARD }

/** How long a member that has heard the word stays: its answer is on its way. */
const ANSWERING = Duration.millis(100)

const DONE: Exit = { status: 0 }

export class Once {
  /** How long the leader stays to say so to members that join later. */
  readonly #keep: Duration.Duration
  readonly #elsewhere = Deferred.makeUnsafe<void>()
  /** The last epoch under which this client has led. */
  #led = 0
  #isDone = false

  constructor(keep: Duration.Duration) {
    this.#keep = keep
  }

  /** Takes the word of the leader. */
  readonly handler: Handler = ({ command, epoch: now = 0, from }) =>
    Effect.sync(() => {
      const epoch = epochIn(command)
      if (epoch === undefined || from !== 0 || epoch > now || epoch < this.#led) return { status: "denied" }
      // This client may get rank 0 before it ends.
      this.#isDone = true
      Deferred.doneUnsafe(this.#elsewhere, Effect.void)
      return { status: 0 }
    })

  /** Succeeds when the job is done on another machine. */
  readonly elsewhere: Effect.Effect<Exit> = Effect.tap(
    Effect.as(Deferred.await(this.#elsewhere), DONE),
    Effect.sleep(ANSWERING)
  )

  /** Runs the job while this client leads, and says when it is done. A job that is done does not run again. */
  run<E, R>(ranks: RankClient["Service"], epoch: number, job: Effect.Effect<Exit, E, R>): Effect.Effect<Exit, E, R> {
    return Effect.suspend(() => {
      this.#led = epoch
      return Effect.tap(this.#isDone ? Effect.succeed(DONE) : job, ({ status }) => {
        if (status !== 0) return Effect.void
        this.#isDone = true
        // A signal only ends the wait for others.
        return Effect.onInterrupt(this.#say(ranks), () => Effect.sync(() => stoppedBy() !== undefined && endWith(0)))
      })
    })
  }

  readonly #say = Effect.fnUntraced({ self: this }, function* ({ exec, roster }: RankClient["Service"]) {
    const heard = new Set<string>()
    const word = `${WORD}${this.#led}`
    const telling = roster.pipe(
      // The list is empty while there is no connection.
      Stream.filter((members) => members.length > 0),
      Stream.mapEffect((members) => {
        const others = members.filter(({ member, rank }) => rank > 0 && !heard.has(member))
        const tell = ({ member }: Listed) =>
          exec(`@${member}`, word, { member, timeout: ANSWER_TIMEOUT }).pipe(
            Effect.tap(({ status }) => Effect.sync(() => ANSWERS.has(status) && heard.add(member))),
            Effect.filterOrFail(
              ({ status }) => ANSWERS.has(status),
              () => UNHEARD
            ),
            Effect.retry(RETRIES),
            Effect.ignore
          )
        return Effect.forEach(others, tell, { concurrency: "unbounded", discard: true })
      })
    )
    yield* Stream.runHead(telling)
    if (Duration.isGreaterThan(this.#keep, Duration.zero)) {
      yield* Effect.timeoutOption(Stream.runDrain(telling), this.#keep)
    }
  })
}
