/**
 * Tells the members of one group their ranks, and its watchers what changes (a new
 * name is also told to who took it). It owns who is told what when; the order
 * itself is `RankRef`'s.
 *
 * Nobody's rank is computed until it is to be told. When members leave, a *sweep*
 * goes over those behind them, and tells each the rank it then has, if that is
 * not what it was last told. Departures during a sweep, and during the rest after
 * it, are left for the next: a thousand departures cost a few sweeps, not a
 * thousand. Whoever must know sooner is told sooner, by `tell`: the successor to
 * rank 0, whoever a command is about to reach, and whoever is about to be answered.
 */
import type { Scope } from "effect"
import { Clock, Duration, Effect, Latch } from "effect"
import type { ServerMessage } from "../../protocol/Messages.ts"
import type { Change, RankRef } from "../../rank/RankRef.ts"
import * as Roster from "../../rank/Roster.ts"
import type { FlushQueue } from "../outbound/FlushQueue.ts"
import type { Outbox } from "../outbound/Outbox.ts"
import { type Client, NOT_TOLD, sayToAll } from "../Peer.ts"

/** Members told between two chances for the others to run: about a millisecond of writes. */
const SWEEP_SLICE = 256

/** The least rest between two sweeps. It is longer after a long sweep, so that sweeps never take most of the time. */
const MIN_REST = Duration.millis(20)
const REST_FACTOR = 2

export interface Announcer {
  /** Tells `member`, now at `rank` of `roster` (the order as it is now), its rank, unless it knows. */
  readonly tell: (member: Roster.Member<Client>, rank: number, roster: Roster.Roster<Client>) => void
  /** To be called after a change of the order: writes what it made necessary. */
  readonly changed: () => void
  /** Has the client told of every change from now on. */
  readonly watch: (client: Client) => void
  readonly unwatch: (client: Client) => void
  /** A watcher that is to be waited for before the order is changed on purpose; undefined where all keep up. */
  readonly congested: () => Outbox | undefined
}

export const memberId = (member: Roster.Member<unknown>): string => `m${member.id}`

const asMessage = (change: Change<Client>): ServerMessage => {
  const member = memberId(change.member)
  switch (change._tag) {
    case "Joined":
      return { _tag: "Joined", rank: change.rank, member }
    case "Left":
      return {
        _tag: "Left",
        rank: change.rank,
        member,
        reason: change.member.data.ending?.reason ?? "joined another group"
      }
    case "Moved":
      return { _tag: "Moved", from: change.from, to: change.to, member }
    case "Named":
      return { _tag: "Named", rank: change.rank, member, name: change.member.name! }
  }
}

/** @param stopping whether the server stops: then nothing is said, for nobody is promoted by that */
export const make = Effect.fnUntraced(function* (
  ranks: RankRef<Client>,
  touched: FlushQueue,
  stopping: () => boolean
): Effect.fn.Return<Announcer, never, Scope.Scope> {
  const watchers = new Set<Client>()
  const stale = Latch.makeUnsafe(false)
  /** The smallest rank whose holder may not know it; infinite where all do. */
  let staleFrom = Number.POSITIVE_INFINITY

  const tell: Announcer["tell"] = (member, rank, roster) => {
    if (member.data.told === rank || stopping()) return
    member.data.told = rank
    member.data.say({
      _tag: "Rank",
      rank,
      size: Roster.size(roster),
      epoch: roster.epoch,
      member: memberId(member)
    })
  }

  const markStale = (rank: number) => {
    staleFrom = Math.min(staleFrom, rank)
  }

  yield* ranks.observe((change) => {
    switch (change._tag) {
      case "Left":
        watchers.delete(change.member.data)
        markStale(change.rank)
        break
      case "Moved":
        change.member.data.told = NOT_TOLD
        markStale(change.from)
    }
    const { data } = change.member
    // A newcomer that brings its name knows it, and is told its rank first.
    const told = change._tag === "Named" && data.told !== NOT_TOLD ? new Set(watchers).add(data) : watchers
    if (told.size === 0 || stopping() || (change._tag === "Moved" && change.from === change.to)) return
    sayToAll(told, asMessage(change))
  })

  const sweep = Effect.gen(function* () {
    let rank = staleFrom
    staleFrom = Number.POSITIVE_INFINITY
    for (;;) {
      const roster = ranks.snapshot()
      const end = Math.min(rank + SWEEP_SLICE, Roster.size(roster))
      for (; rank < end; rank++) tell(Roster.at(roster, rank)!, rank, roster)
      touched.flush()
      if (rank >= Roster.size(roster)) return
      yield* Effect.yieldNow
    }
  })

  yield* Effect.forkScoped(
    Effect.gen(function* () {
      yield* stale.await
      stale.closeUnsafe()
      const start = yield* Clock.currentTimeMillis
      yield* sweep
      const took = (yield* Clock.currentTimeMillis) - start
      yield* Effect.sleep(Duration.max(MIN_REST, Duration.millis(REST_FACTOR * took)))
    }).pipe(Effect.forever)
  )

  return {
    tell,
    changed: () => {
      const roster = ranks.snapshot()
      const first = Roster.at(roster, 0)
      if (first !== undefined) tell(first, 0, roster)
      touched.flush()
      // Resuming the sweep runs it there and then; departures of the same moment are for the same sweep.
      if (staleFrom < Roster.size(roster)) queueMicrotask(() => stale.openUnsafe())
    },
    watch: (client) => watchers.add(client),
    unwatch: (client) => watchers.delete(client),
    congested: () => {
      for (const { outbox } of watchers) if (outbox.congested) return outbox
      return undefined
    }
  }
})
