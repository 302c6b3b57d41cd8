/** A group of fake peers: its order, notifier and events are real, and there are no sessions. */
import { Effect, Scope } from "effect"
import { memberIdOf } from "../../src/protocol/Ids.ts"
import type { LeaveReason } from "../../src/protocol/Reasons.ts"
import { RankRef } from "../../src/rank/RankRef.ts"
import type * as Roster from "../../src/rank/Roster.ts"
import { Events } from "../../src/server/events/Events.ts"
import * as Group from "../../src/server/group/Group.ts"
import { LeadIns } from "../../src/server/group/LeadIns.ts"
import { giveUp, type Seat } from "../../src/server/group/Seat.ts"
import { FlushQueue } from "../../src/server/outbound/FlushQueue.ts"
import type { Peer } from "../../src/server/Peer.ts"
import { type FakePeer, fakePeer } from "./fakePeer.ts"
import type { Tuple } from "./tuple.ts"

export interface FakeGroupOptions {
  /** Of each member. */
  readonly maxPending?: number
}

/** Its members are `m1`, `m2`, ... in the order in which they join. */
export const fakeGroup = Effect.fnUntraced(function* ({ maxPending }: FakeGroupOptions = {}) {
  const flushQueue = new FlushQueue()
  const events = new Events()
  const server = { stopping: false }
  let joined = 0
  const ranks = new RankRef<Peer, LeaveReason>({
    capacity: 10_000,
    nextMemberId: () => joined,
    epoch: 0,
    reasonOf: Group.leaveReasonOf
  })
  const open = Group.opening({ flushQueue, events, leadIns: new LeadIns(0, () => 0), stopping: () => server.stopping })
  const group = yield* open("jobs", ranks)
  const { notifier } = group
  const seats = new Map<FakePeer, Seat>()

  const idOf = (peer: FakePeer) => {
    const seat = seats.get(peer)
    if (seat === undefined) throw new Error(`${peer.member} has no seat`)
    return seat.member.id
  }

  return {
    group,
    flushQueue,
    events,
    server,
    roster: () => ranks.snapshot(),
    /** A member that knows its rank. What watchers get is flushed. */
    join: Effect.fnUntraced(function* (name?: string) {
      const peer = fakePeer(memberIdOf(++joined), flushQueue, maxPending)
      const scope = yield* Scope.make()
      const announce = (_: Roster.Member<Peer>, rank: number) => {
        peer.lastRankSent = rank
      }
      const member = yield* Effect.orDie(Scope.provide(ranks.join(peer, { name }, announce), scope))
      seats.set(peer, { group, member, scope })
      notifier.changed()
      return peer
    }),
    leave: (peer: FakePeer, reason: LeaveReason = "quit") =>
      Effect.suspend(() => {
        const seat = seats.get(peer)
        return seat === undefined ? Effect.void : giveUp(seat, reason)
      }),
    stepDown: (peer: FakePeer) =>
      Effect.map(
        Effect.suspend(() => ranks.stepDown(idOf(peer))),
        () => notifier.changed()
      ),
    rename: (peer: FakePeer, name: string) =>
      Effect.map(
        Effect.suspend(() => Effect.orDie(ranks.rename(idOf(peer), name))),
        () => notifier.changed()
      )
  }
})

export type FakeGroup = Effect.Success<ReturnType<typeof fakeGroup>>

/** So many members more. */
export const members = <const N extends number>({ join }: FakeGroup, count: N): Effect.Effect<Tuple<FakePeer, N>> =>
  Effect.map(
    Effect.forEach(Array.from({ length: count }), () => join()),
    (peers) => peers as Tuple<FakePeer, N>
  )
