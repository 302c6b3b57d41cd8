/**
 * Sends the members of one group their ranks, and its watchers the changes. It decides which
 * client gets which line, and when; `RankRef` owns the order.
 *
 * A rank is computed when it is sent. When members leave, a *sweep* visits the members behind
 * them and sends a rank to each whose rank has changed. Departures during a sweep, and during
 * the rest after it, wait for the next sweep: so a thousand departures cost a few sweeps, not
 * a thousand. Some members get their ranks sooner, with `tell`: the new rank 0, the target of
 * a command before the command, and a client before any answer to it.
 */
import { Clock, Duration, Effect, type Scope } from "effect"
import { memberIdOf } from "../../protocol/Ids.ts"
import type { ServerMessage } from "../../protocol/Messages.ts"
import type { LeaveReason } from "../../protocol/Reasons.ts"
import type { Change, RankRef } from "../../rank/RankRef.ts"
import * as Roster from "../../rank/Roster.ts"
import type { FlushQueue } from "../outbound/FlushQueue.ts"
import type { Outbox } from "../outbound/Outbox.ts"
import { NO_RANK, type Peer, sendToAll } from "../Peer.ts"
import { Sweeper } from "../Sweeper.ts"
import { monotonicMillis } from "../time.ts"

/** The most members that a sweep visits before other fibers run: about a millisecond of writes. */
const SWEEP_SLICE = 256

/** The shortest rest after a sweep. A long sweep has a longer one, so that sweeps never take most of the time. */
const MIN_REST = Duration.millis(20)
const REST_FACTOR = 2

/** The longest rest: a sweep in which the process was frozen, and not at work, looks long, too. */
const MAX_REST = Duration.seconds(1)

/** A change of the order of a group. */
export type PeerChange = Change<Peer, LeaveReason>

/** The messages for watchers about a change. */
const messagesOf = (change: PeerChange): ReadonlyArray<ServerMessage> => {
  const { name } = change.member
  const member = memberIdOf(change.member.id)
  switch (change._tag) {
    case "Joined": {
      const joined = { _tag: "Joined", rank: change.rank, member } as const
      return name === undefined ? [joined] : [joined, { _tag: "Named", rank: change.rank, member, name }]
    }
    case "Left":
      return [{ _tag: "Left", rank: change.rank, member, reason: change.reason }]
    case "Moved":
      // If the last member steps down, no member moves.
      return change.from === change.to ? [] : [{ _tag: "Moved", from: change.from, to: change.to, member }]
    case "Named":
      return [{ _tag: "Named", rank: change.rank, member, name: change.member.name }]
  }
}

export class RankNotifier {
  readonly #ranks: RankRef<Peer, LeaveReason>
  readonly #flushQueue: FlushQueue
  readonly #stopping: () => boolean
  readonly #leadIn: () => number | undefined
  readonly #watchers = new Set<Peer>()
  readonly #sweeper = new Sweeper()
  /** The smallest rank whose member may not know it; infinite if all members know their ranks. */
  #staleFrom = Number.POSITIVE_INFINITY

  /**
   * @param stopping whether the server is stopping: then it sends nothing, because no member is promoted
   * @param leadIn for how long a client with a lease that gets rank 0 now must not act on it
   */
  constructor(
    ranks: RankRef<Peer, LeaveReason>,
    flushQueue: FlushQueue,
    stopping: () => boolean,
    leadIn: () => number | undefined
  ) {
    this.#ranks = ranks
    this.#flushQueue = flushQueue
    this.#stopping = stopping
    this.#leadIn = leadIn
  }

  /** Sweeps until the scope closes. */
  readonly run: Effect.Effect<void, never, Scope.Scope> = Effect.suspend(() => this.#sweeper.run(this.#pass))

  /** Sends the member its rank, unless it has it already. `roster` is the present order. */
  tell({ data, id }: Roster.Member<Peer>, rank: number, roster: Roster.Roster<Peer>): void {
    if (data.lastRankSent === rank || data.leaving || data.absent || this.#stopping()) return
    data.lastRankSent = rank
    const leadIn = rank === 0 && data.lease !== undefined ? this.#leadIn() : undefined
    const message = {
      _tag: "Rank",
      rank,
      size: Roster.size(roster),
      epoch: roster.epoch,
      member: memberIdOf(id)
    } as const
    data.send(leadIn === undefined ? message : { ...message, leadIn })
  }

  /** Notes a change of the order and sends it to the watchers. It runs within the atomic step of the change. */
  observe(change: PeerChange): void {
    const { data } = change.member
    if (change._tag === "Left") {
      this.#watchers.delete(data)
      this.#staleFrom = Math.min(this.#staleFrom, change.rank)
    } else if (change._tag === "Moved") {
      data.lastRankSent = NO_RANK
      this.#staleFrom = Math.min(this.#staleFrom, change.from)
    }
    if (this.#stopping()) return
    const receivers = change._tag === "Named" ? new Set(this.#watchers).add(data) : this.#watchers
    if (receivers.size === 0) return
    for (const message of messagesOf(change)) sendToAll(receivers, message)
  }

  /** Sends what a change of the order makes necessary. Call it after each change. */
  changed(): void {
    const roster = this.#ranks.snapshot()
    const first = Roster.at(roster, 0)
    if (first !== undefined) this.tell(first, 0, roster)
    this.#flushQueue.flush()
    if (this.#staleFrom < Roster.size(roster)) this.#sweeper.wake()
  }

  /** Sends the peer every change from now on. */
  watch(peer: Peer): void {
    this.#watchers.add(peer)
  }

  unwatch(peer: Peer): void {
    this.#watchers.delete(peer)
  }

  /** The outbox of a watcher that does not keep up; a client waits for it before it changes the order. */
  congested(): Outbox | undefined {
    for (const { outbox } of this.#watchers) if (outbox.congested) return outbox
    return undefined
  }

  /** One sweep, and the rest after it. */
  readonly #pass = Effect.gen({ self: this }, function* () {
    this.#sweeper.rest()
    const now = monotonicMillis(yield* Clock.Clock)
    const start = now()
    yield* this.#sweep
    const rest = Duration.millis(REST_FACTOR * (now() - start))
    yield* Effect.sleep(Duration.clamp(rest, { minimum: MIN_REST, maximum: MAX_REST }))
  })

  readonly #sweep = Effect.gen({ self: this }, function* () {
    let rank = this.#staleFrom
    this.#staleFrom = Number.POSITIVE_INFINITY
    for (;;) {
      const roster = this.#ranks.snapshot()
      const end = Math.min(rank + SWEEP_SLICE, Roster.size(roster))
      for (const member of Roster.slice(roster, rank, end)) this.tell(member, rank++, roster)
      this.#flushQueue.flush()
      if (rank >= Roster.size(roster)) return
      yield* Effect.yieldNow
    }
  })
}
