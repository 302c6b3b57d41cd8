/**
 * The log of the server: an observer that writes a line for each event that matters to an
 * operator. It uses the loggers and the log level of the context that it is made in.
 *
 * Invariant: a client cannot flood the log without reconnecting. The log has at most `UNSEATED_LINES` lines a second
 * about clients that have no seat or speak another protocol, all of them together, and at most `LINES` about the `JOIN`, `NAME` and
 * `YIELD` of one member, and about the leader of one group. The next line has the number of
 * the others: `unlogged=12`.
 */
import { Clock, Effect, LogLevel } from "effect"
import type { RefusalCause } from "../events/CloseCause.ts"
import type { Observer } from "../events/Events.ts"
import { RateLimiter } from "../RateLimiter.ts"
import { monotonicMillis } from "../time.ts"

const UNSEATED_LINES = 10
const LINES = 10

/** Milliseconds that an epoch may be ahead of the wall clock and still show when the order changed. */
const MAX_AHEAD = 1000

/** When the order with this epoch began. An epoch that is ahead of the wall clock is no time: then it began now. */
const timeOf = (epoch: number, now: number): Date => {
  const time = Math.floor(epoch / 1000)
  return new Date(time > now + MAX_AHEAD ? now : time)
}

/** Counts the lines of the present second, for each member or each group. */
class LineLimit {
  #lines = new Map<string, number>()
  #since = Number.NEGATIVE_INFINITY

  take(about: string, now: number): boolean {
    if (now - this.#since >= 1000) {
      this.#since = now
      this.#lines = new Map()
    }
    const lines = this.#lines.get(about) ?? 0
    this.#lines.set(about, lines + 1)
    return lines < LINES
  }
}

/** `authFailed` has already logged these, before the delay of the answer. */
const isAuthFailure = (cause: RefusalCause) => cause === "wrong token" || cause === "token for another name"

type Level = LogLevel.Severity

const levels: ReadonlyArray<Level> = ["Debug", "Info", "Warn", "Error"]

export const make: Effect.Effect<Observer> = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const now = monotonicMillis(clock)
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const enabled = new Set(yield* Effect.filter(levels, (level) => LogLevel.isEnabled(level)))
  const unseated = new RateLimiter(UNSEATED_LINES)
  const members = new LineLimit()
  const leaders = new LineLimit()
  let unlogged = 0

  const log = (level: Level, message: string, fields: Record<string, unknown>) => {
    if (!enabled.has(level)) return
    const known = Object.entries({ ...fields, unlogged: unlogged || undefined }).filter(
      ([, value]) => value !== undefined
    )
    unlogged = 0
    fork(Effect.annotateLogs(Effect.logWithLevel(level)(message), Object.fromEntries(known)))
  }
  /** About a client without a seat, or one that is about to lose it. */
  const logUnseated = (message: string, fields: Record<string, unknown>) => {
    if (unseated.take(now())) log("Warn", message, fields)
    else unlogged++
  }
  const logMember = (message: string, member: string, fields: Record<string, unknown>) => {
    if (!enabled.has("Info")) return
    if (members.take(member, now())) log("Info", message, { member, ...fields })
    else unlogged++
  }

  return {
    refused: (address, cause, reason, detail) => {
      if (!isAuthFailure(cause)) logUnseated("refused", { address, reason, cause, detail })
    },
    closed: (address, cause, detail) => {
      if (cause === "internal error") log("Error", "session failed", { address, detail })
    },
    authFailed: (address, cause) => logUnseated("authentication failed", { address, reason: cause }),
    joined: (member, name, group, address) => logMember("joined", member, { name, group, address }),
    lost: (member, name, group, address, reason) => log("Info", "lost", { member, name, group, address, reason }),
    resumed: (member, name, group, address) => log("Info", "resumed", { member, name, group, address }),
    left: (member, name, group, address, reason) => {
      // The line `joined` shows the new group.
      if (reason !== "joined another group") log("Info", "left", { member, name, group, address, reason })
    },
    moved: (member, name, group, from, to) => logMember("stepped down", member, { name, group, from, to }),
    named: (member, name, group) => logMember("renamed", member, { name, group }),
    leaderChanged: (member, name, group, epoch) => {
      const since = timeOf(epoch, clock.currentTimeMillisUnsafe()).toISOString()
      // A limit of its own, so that other lines about a member cannot hide that it leads.
      if (leaders.take(group, now())) log("Info", "leader changed", { member, name, group, epoch, since })
      else unlogged++
    },
    slowConsumer: (address, member, cause) => log("Warn", "slow consumer", { member, address, cause }),
    otherProtocol: (address, member, cause) => logUnseated("another protocol", { member, address, cause }),
    endedWithoutIssuer: (issuer, id, outcomes) =>
      log("Info", "ended without its issuer", { issuer, id, outcomes: outcomes.join(" ") }),
    lateResults: (results) => log("Debug", "dropped late results", { results }),
    observerFailed: (event, error) =>
      log("Error", "an observer failed and is called no more", { event, error: `${error}` })
  }
})
