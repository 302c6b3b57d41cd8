/** The router without a server: peers that write to memory, and commands from rank 0. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Schema } from "effect"
import { jsonCodec } from "../../../src/protocol/json/JsonCodec.ts"
import type { LeaveReason } from "../../../src/protocol/Reasons.ts"
import { RankRef } from "../../../src/rank/RankRef.ts"
import { Issuer } from "../../../src/server/commands/Command.ts"
import { TrackedCommands } from "../../../src/server/commands/TrackedCommands.ts"
import { Events } from "../../../src/server/events/Events.ts"
import type { Group } from "../../../src/server/group/Group.ts"
import { RankNotifier } from "../../../src/server/group/RankNotifier.ts"
import { Router } from "../../../src/server/group/Router.ts"
import { FlushQueue } from "../../../src/server/outbound/FlushQueue.ts"
import type { Peer } from "../../../src/server/Peer.ts"
import { type FakePeer, fakePeer } from "../../support/fakePeer.ts"

const MAX_LINE = 200

/** A router, and so many peers that know their ranks, in order. */
const setUp = Effect.fnUntraced(function* (count: number, maxPending = 1_000_000) {
  const flushQueue = new FlushQueue()
  const events = new Events()
  const settings = { commandTimeout: Duration.seconds(60), maxLine: MAX_LINE, maxOpenTargets: 1000 }
  const commands = new TrackedCommands({ flushQueue, events, now: () => 0, settings })
  let lastId = 0
  const ranks = new RankRef<Peer, LeaveReason>({
    capacity: 100,
    nextMemberId: () => ++lastId,
    epoch: 0,
    reasonOf: () => "closed"
  })
  const notifier = new RankNotifier(
    ranks,
    flushQueue,
    () => false,
    () => undefined
  )
  const group: Group = { name: "g", ranks, notifier, followLeader: () => {} }
  const peers: Array<FakePeer> = []
  for (let i = 0; i < count; i++) {
    const peer = fakePeer(`m${i + 1}`, flushQueue, maxPending)
    peers.push(peer)
    yield* ranks.join(peer)
    peer.lastRankSent = i
  }
  const router = new Router(commands, events.stats, MAX_LINE)
  const routed = (text: string) => {
    const bytes = Buffer.from(text)
    return { group, roster: ranks.snapshot(), from: 0, bytes, start: 0, end: bytes.length }
  }
  return { commands, group, peers, ranks, routed, router, stats: events.stats }
})

/** An issuer's line as bytes, and the start and the end of its command. */
const read = (line: string) => ({ bytes: Buffer.from(`${line}\n`), start: line.indexOf(" ", 5) + 1, end: line.length })

describe("a command to one target", () => {
  it.effect("is passed on in the received bytes if the target's line has the same length", () =>
    Effect.gen(function* () {
      const { group, peers, ranks, router, stats } = yield* setUp(2)
      const { bytes, end, start } = read("EXEC 1 uptime")
      const delivered = router.deliverToOne(group, ranks.snapshot(), 0, 1, bytes, 0, start, end)
      assert.strictEqual(delivered._tag, "Sent")
      // The router has overwritten the head of the issuer's line.
      assert.strictEqual(bytes.toString(), "EXEC 0 uptime\n")
      assert.deepStrictEqual(peers[1]!.lines(), ["EXEC 0 uptime"])
      assert.strictEqual(stats.untracked.delivered, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("is copied if the target's line is shorter, and the received bytes stay the same", () =>
    Effect.gen(function* () {
      const { group, peers, ranks, router } = yield* setUp(11)
      const { bytes, end, start } = read("EXEC 10 uptime")
      router.deliverToOne(group, ranks.snapshot(), 0, 10, bytes, 0, start, end)
      assert.strictEqual(bytes.toString(), "EXEC 10 uptime\n")
      assert.deepStrictEqual(peers[10]!.lines(), ["EXEC 0 uptime"])
    }).pipe(Effect.scoped)
  )

  it.effect("comes after the target's new rank", () =>
    Effect.gen(function* () {
      const { peers, routed, router } = yield* setUp(2)
      peers[1]!.lastRankSent = -1
      router.deliver(routed("x"), 1, 1)
      assert.deepStrictEqual(peers[1]!.lines(), ["RANK 1 2 2 m2", "EXEC 0 x"])
    }).pipe(Effect.scoped)
  )

  it.effect("reaches no target that is congested, may not execute, or whose line would be too long", () =>
    Effect.gen(function* () {
      const { peers, routed, router, stats } = yield* setUp(3, 1000)
      const full = "x".repeat(MAX_LINE - "EXEC 0 \n".length)
      assert.strictEqual(router.deliver(routed(full), 1, 1)._tag, "Sent")
      assert.strictEqual(router.deliver(routed(`${full}x`), 1, 1)._tag, "TooLong")
      // Half of the limit.
      while (!peers[1]!.outbox.congested) peers[1]!.outbox.appendLine(full)
      assert.strictEqual(router.deliver(routed("x"), 1, 1)._tag, "Held")
      assert.strictEqual(router.deliver(routed("x"), 1, 2)._tag, "Held")
      peers[2]!.executes = false
      assert.deepStrictEqual(router.deliver(routed("x"), 2, 2), { _tag: "Partly", missed: 0, denied: 1 })
      assert.deepStrictEqual(peers[2]!.lines(), [])
      assert.deepStrictEqual(stats.untracked, { delivered: 1, missed: 0, denied: 1 })
      assert.strictEqual(stats.untrackedCommands, 2)
    }).pipe(Effect.scoped)
  )
})

const Mix = Schema.Array(Schema.Literals(["text", "json", "denied", "closed"])).check(
  Schema.isMinLength(1),
  Schema.isMaxLength(20)
)

describe("a command to several targets", () => {
  it.effect.prop(
    "reaches each target in its encoding, except those that are closed or may not execute",
    [Mix, Schema.Boolean],
    ([kinds, tracked]) =>
      Effect.gen(function* () {
        const { peers, ranks, routed, router, stats } = yield* setUp(kinds.length + 1)
        const issuer = peers[0]!
        const targets = kinds.map((kind, i) => {
          const peer = peers[i + 1]!
          if (kind === "json") peer.codec = jsonCodec
          peer.executes = kind !== "denied"
          if (kind === "closed") peer.outbox.close()
          return { kind, peer }
        })
        const count = (...wanted: ReadonlyArray<string>) => kinds.filter((kind) => wanted.includes(kind)).length
        const tracking = { issuer: new Issuer(issuer), id: "a", several: true, timeout: 1000 }
        const delivered = router.deliver(routed("do it"), 1, kinds.length, tracked ? tracking : undefined)
        const [missed, denied] = [count("closed"), count("denied")]
        assert.deepStrictEqual(
          delivered,
          tracked || missed + denied === 0 ? { _tag: "Sent" } : { _tag: "Partly", missed, denied }
        )
        const { epoch } = ranks.snapshot()
        for (const [i, { kind, peer }] of targets.entries()) {
          const id = tracked ? { id: `${i + 1}` } : {}
          const line = peer.codec.encodeServer({ _tag: "Exec", ...id, from: 0, command: "do it", epoch })
          assert.deepStrictEqual(peer.lines(), kind === "text" || kind === "json" ? [line] : [])
        }
        if (!tracked) {
          assert.deepStrictEqual(stats.untracked, { delivered: count("text", "json"), missed, denied })
          assert.strictEqual(stats.untrackedCommands, 1)
          return assert.deepStrictEqual(issuer.lines(), [])
        }
        const outcomes = targets.flatMap(({ kind }, i) =>
          kind === "denied" ? `RESULT#a ${i + 1} denied` : kind === "closed" ? `RESULT#a ${i + 1} undelivered` : []
        )
        const heard = issuer.lines()
        assert.sameMembers(
          heard.filter((line) => !line.startsWith("DONE")),
          outcomes
        )
        // All deliveries have ended only if no target got the command.
        assert.strictEqual(heard.at(-1)?.startsWith("DONE#a") === true, count("text", "json") === 0)
        assert.strictEqual(stats.trackedCommands, 1)
        assert.strictEqual(stats.outcomes.denied ?? 0, denied)
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 100 } }
  )
})
