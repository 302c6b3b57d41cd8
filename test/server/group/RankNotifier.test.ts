/** A group without a server: peers that write to memory, the notifier, and the events. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Scope } from "effect"
import { TestClock } from "effect/testing"
import type { LeaveReason } from "../../../src/protocol/Reasons.ts"
import { RankRef } from "../../../src/rank/RankRef.ts"
import { Events } from "../../../src/server/events/Events.ts"
import * as Group from "../../../src/server/group/Group.ts"
import { LeadIns } from "../../../src/server/group/LeadIns.ts"
import { giveUp, type Seat } from "../../../src/server/group/Seat.ts"
import { FlushQueue } from "../../../src/server/outbound/FlushQueue.ts"
import type { Peer } from "../../../src/server/Peer.ts"
import { type FakePeer, fakePeer } from "../../support/fakePeer.ts"

interface Member extends Seat {
  readonly peer: FakePeer
}

/** A group with so many members that know their ranks, and its events as lines. */
const setUp = Effect.fnUntraced(function* (count: number) {
  const flushQueue = new FlushQueue()
  const events = new Events()
  const happened: Array<string> = []
  yield* events.observe({
    joined: (member, name, group) => happened.push(`joined ${member} ${name ?? "-"} ${group}`),
    left: (member, _, __, ___, reason) => happened.push(`left ${member} ${reason}`),
    moved: (member, _, __, from, to) => happened.push(`moved ${member} ${from} ${to}`),
    named: (member, name) => happened.push(`named ${member} ${name}`),
    leaderChanged: (member, _, group, epoch) => happened.push(`leader ${member} ${group} ${epoch}`)
  })
  let stopping = false
  let lastId = 0
  const ranks = new RankRef<Peer, LeaveReason>({
    capacity: 10_000,
    nextMemberId: () => ++lastId,
    epoch: 0,
    reasonOf: Group.leaveReasonOf
  })
  const group = yield* Group.opening({
    events,
    flushQueue,
    leadIns: new LeadIns(0, () => 0),
    stopping: () => stopping
  })("g", ranks)
  const join = Effect.fnUntraced(function* (name?: string) {
    const peer = fakePeer(`m${lastId + 1}`, flushQueue)
    const scope = yield* Scope.make()
    const member = yield* Scope.provide(
      ranks.join(peer, { name }, (member, rank, roster) => group.notifier.tell(member, rank, roster)),
      scope
    )
    return { group, member, peer, scope } satisfies Member
  })
  const members: Array<Member> = []
  for (let i = 0; i < count; i++) members.push(yield* join())
  for (const { peer } of members) peer.lines()
  happened.length = 0
  const stop = () => {
    stopping = true
  }
  return { group, happened, join, members, ranks, stop }
})

const turns = Effect.andThen(TestClock.adjust(0), Effect.yieldNow)
const linesOf = (members: ReadonlyArray<Member>) => members.map(({ peer }) => peer.lines())

describe("the members behind one that leaves", () => {
  it.effect("get their ranks in one sweep, except the new rank 0, which gets it at once", () =>
    Effect.gen(function* () {
      const { members } = yield* setUp(600)
      yield* giveUp(members[0]!, "quit")
      assert.deepStrictEqual(members[1]!.peer.lines(), ["RANK 0 599 601 m2"])
      assert.deepStrictEqual(members[2]!.peer.lines(), [])
      yield* turns
      for (const [i, { peer }] of members.slice(2).entries()) {
        assert.deepStrictEqual(peer.lines(), [`RANK ${i + 1} 599 601 m${i + 3}`])
      }
      assert.deepStrictEqual(members[1]!.peer.lines(), [])
    }).pipe(Effect.scoped)
  )

  it.effect("get one rank for all departures during the rest after a sweep, and never the same rank twice", () =>
    Effect.gen(function* () {
      const { members } = yield* setUp(6)
      yield* giveUp(members[1]!, "quit")
      yield* turns
      const rest = members.slice(3)
      assert.deepStrictEqual(linesOf(rest), [["RANK 2 5 7 m4"], ["RANK 3 5 7 m5"], ["RANK 4 5 7 m6"]])
      yield* giveUp(members[2]!, "quit")
      yield* giveUp(members[3]!, "quit")
      yield* turns
      assert.deepStrictEqual(linesOf(members.slice(4)), [[], []])
      yield* TestClock.adjust("20 millis")
      yield* turns
      assert.deepStrictEqual(linesOf(members.slice(4)), [["RANK 1 3 9 m5"], ["RANK 2 3 9 m6"]])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(linesOf(members.slice(4)), [[], []])
    }).pipe(Effect.scoped)
  )

  it.effect("wait a second at most after a sweep in which the process was frozen", () => {
    let frozen = 0n
    return Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const slow = { ...clock, monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe() + frozen }
      const { members } = yield* Effect.provideService(setUp(6), Clock.Clock, slow)
      const { peer } = members[3]!
      const send = peer.send.bind(peer)
      Object.assign(peer, {
        send: (...message: Parameters<typeof send>) => {
          frozen += 4_000_000_000n
          return send(...message)
        }
      })
      yield* giveUp(members[1]!, "quit")
      yield* turns
      assert.strictEqual(frozen, 4_000_000_000n)
      yield* giveUp(members[2]!, "quit")
      linesOf(members)
      yield* TestClock.adjust("1 second")
      yield* turns
      assert.deepStrictEqual(linesOf(members.slice(4)), [["RANK 2 4 8 m5"], ["RANK 3 4 8 m6"]])
    }).pipe(Effect.scoped)
  })

  it.effect("get nothing while the server is stopping", () =>
    Effect.gen(function* () {
      const { group, happened, members, stop } = yield* setUp(3)
      group.notifier.watch(members[2]!.peer)
      stop()
      yield* giveUp(members[0]!, "shutting down")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(linesOf(members.slice(1)), [[], []])
      assert.deepStrictEqual(happened, ["left m1 shutting down"])
    }).pipe(Effect.scoped)
  )

  it.effect("are not promoted if they are leaving themselves", () =>
    Effect.gen(function* () {
      const { happened, members } = yield* setUp(4)
      for (const { peer } of members.slice(0, 3)) peer.leaving = true
      for (const member of members.slice(0, 3)) yield* giveUp(member, "kicked")
      yield* turns
      assert.deepStrictEqual(linesOf(members), [[], [], [], ["RANK 0 1 7 m4"]])
      assert.deepStrictEqual(happened, ["left m1 kicked", "left m2 kicked", "left m3 kicked", "leader m4 g 7"])
    }).pipe(Effect.scoped)
  )
})

describe("watchers", () => {
  it.effect("get every change in order, until they unwatch or leave", () =>
    Effect.gen(function* () {
      const { group, happened, join, members, ranks } = yield* setUp(3)
      const [a, b, c] = members.map(({ peer }) => peer)
      group.notifier.watch(c!)
      const d = yield* join("dora")
      yield* ranks.rename(members[1]!.member.id, "bea")
      yield* ranks.stepDown(members[0]!.member.id)
      // The last member steps down: no member moves.
      yield* ranks.stepDown(members[0]!.member.id)
      yield* giveUp(d, "reset")
      assert.deepStrictEqual(c!.lines(), [
        "JOINED 3 m4",
        "NAMED 3 m4 dora",
        "NAMED 1 m2 bea",
        "MOVED 0 3 m1",
        "LEFT 2 m4 reset"
      ])
      // A member gets its own new name. A member that joins with a name knows it.
      assert.deepStrictEqual(b!.lines(), ["NAMED 1 m2 bea", "RANK 0 3 7 m2"])
      assert.deepStrictEqual(d.peer.lines(), ["RANK 3 4 4 m4"])
      assert.deepStrictEqual(happened, [
        "joined m4 dora g",
        "named m2 bea",
        "moved m1 0 3",
        "leader m2 g 5",
        "moved m1 3 3",
        "left m4 reset"
      ])
      group.notifier.unwatch(c!)
      a!.lines()
      yield* giveUp(members[0]!, "quit")
      assert.isFalse(c!.lines().some((line) => line.startsWith("LEFT")))
    }).pipe(Effect.scoped)
  )

  it.effect("that do not keep up make others wait", () =>
    Effect.gen(function* () {
      const { group, members } = yield* setUp(2)
      const { peer } = members[1]!
      group.notifier.watch(peer)
      assert.isUndefined(group.notifier.congested())
      while (!peer.outbox.congested) peer.outbox.appendLine("x".repeat(10_000))
      assert.strictEqual(group.notifier.congested(), peer.outbox)
    }).pipe(Effect.scoped)
  )
})

describe("the reason of a departure", () => {
  it.effect("is the one that the seat was given up for, or else internal error", () =>
    Effect.gen(function* () {
      const { happened, members } = yield* setUp(3)
      yield* giveUp(members[2]!, "joined another group")
      yield* Scope.close(members[1]!.scope, Exit.void)
      yield* Scope.close(members[0]!.scope, Exit.die("defect"))
      assert.deepStrictEqual(happened, [
        "left m3 joined another group",
        "left m2 internal error",
        "left m1 internal error"
      ])
    }).pipe(Effect.scoped)
  )
})
