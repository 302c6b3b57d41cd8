/** What the router writes, against what `encodeServer` makes of the same commands; and what it leaves alone. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Schema } from "effect"
import { jsonCodec } from "../../../src/protocol/json/JsonCodec.ts"
import { Issuer } from "../../../src/server/commands/Command.ts"
import { TrackedCommands } from "../../../src/server/commands/TrackedCommands.ts"
import { Router } from "../../../src/server/group/Router.ts"
import { fakeGroup, members } from "../../support/fakeGroup.ts"
import { type FakePeer, fakePeer } from "../../support/fakePeer.ts"

const MAX_LINE = 600

/** Bytes as they were read, in a buffer of their own: small ones of Node's share one. */
const received = (text: string) => {
  const bytes = Buffer.alloc(Buffer.byteLength(text))
  bytes.write(text)
  return bytes
}

/** A group of so many members, and a router. */
const setUp = Effect.fnUntraced(function* <const N extends number>(count: N, maxPending?: number) {
  const group = yield* fakeGroup(maxPending === undefined ? {} : { maxPending })
  const { events, flushQueue } = group
  const settings = { commandTimeout: Duration.seconds(60), maxLine: MAX_LINE, maxOpenTargets: 1000 }
  const commands = new TrackedCommands({ flushQueue, events, now: () => 0, settings })
  const router = new Router(commands, events.stats, MAX_LINE)
  const peers = yield* members(group, count)
  const issuer = new Issuer((peers as ReadonlyArray<FakePeer>)[0] ?? fakePeer())
  /** A command of the member at rank `from`, to the ranks `first` to `last`. */
  const deliver = (from: number, first: number, last: number, command: string, id?: string) => {
    const bytes = Buffer.from(command)
    const tracking = id === undefined ? undefined : { issuer, id, several: true, timeout: 1000 }
    const routed = { group: group.group, roster: group.roster(), from, bytes, start: 0, end: bytes.length }
    return router.deliver(routed, first, last, tracking)
  }
  /** The line of the member at rank `from`, of which `bytes` are the rest of what was read. */
  const passOn = (from: number, to: number, bytes: Buffer, lineStart: number, start: number, end: number) =>
    router.deliverToOne(group.group, group.roster(), from, to, bytes, lineStart, start, end)
  return { group, router, peers, deliver, passOn, issuer, stats: events.stats }
})

const SIZE = 14

const Kinds = Schema.Array(Schema.Literals(["text", "json"])).check(Schema.isMinLength(SIZE), Schema.isMaxLength(SIZE))

const Said = Schema.Struct({
  to: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: SIZE - 1 })),
  /** How many ranks more it is for, as a range; for one rank if negative. */
  more: Schema.Literals([-1, -1, 0, 2]),
  command: Schema.Literals(["x", "uptime", 'say "é\\n"', "tab\tin it", "y".repeat(200)]),
  lineEnd: Schema.Literals(["\n", "\n", "\r\n"]),
  /** Whether what waits is written after it. */
  flush: Schema.Boolean
})

describe("the lines that targets get", () => {
  it.effect.prop(
    "are those of encodeServer in the issuer's order, wherever its own lines stand in the bytes that were read",
    [Kinds, Schema.Array(Said).check(Schema.isMinLength(1), Schema.isMaxLength(12)), Schema.Literals([0, 3, 9, 10])],
    ([kinds, lines, from]) =>
      Effect.gen(function* () {
        const { group, passOn, peers, router } = yield* setUp(SIZE)
        for (const [rank, kind] of kinds.entries()) if (kind === "json") peers[rank]!.codec = jsonCodec
        const said = lines.map((line) => {
          const first = Math.min(SIZE - 1, from + line.to)
          const last = Math.min(SIZE - 1, first + Math.max(0, line.more))
          return { ...line, first, last, head: `EXEC ${line.more < 0 ? first : `${first}-${last}`} ` }
        })
        const bytes = Buffer.from(said.map(({ command, head, lineEnd }) => head + command + lineEnd).join(""))
        const roster = group.roster()
        const expected = peers.map((): Array<string> => [])
        const heard = peers.map((): Array<string> => [])
        let at = 0
        for (const { command, first, flush, head, last, lineEnd, more } of said) {
          const start = at + head.length
          const end = start + Buffer.byteLength(command)
          const delivered =
            more < 0
              ? passOn(from, first, bytes, at, start, end)
              : router.deliver({ group: group.group, roster, from, bytes, start, end }, first, last)
          assert.strictEqual(delivered._tag, "Sent")
          for (let rank = first; rank <= last; rank++) {
            const message = { _tag: "Exec", from, command, epoch: roster.epoch } as const
            expected[rank]!.push(peers[rank]!.codec.encodeServer(message))
          }
          at = end + lineEnd.length
          if (flush) for (const [rank, peer] of peers.entries()) heard[rank]!.push(...peer.lines())
        }
        for (const [rank, peer] of peers.entries()) heard[rank]!.push(...peer.lines())
        assert.deepStrictEqual(heard, expected)
        const all = said.reduce((sum, { first, last }) => sum + last - first + 1, 0)
        assert.deepStrictEqual(group.events.stats.untracked, { delivered: all, missed: 0, denied: 0 })
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 300 } }
  )
})

describe("a line that is as long as the target's", () => {
  it.effect("is passed on without a copy, and line after line in one piece", () =>
    Effect.gen(function* () {
      const { passOn, peers } = yield* setUp(2)
      const bytes = received("EXEC 1 one\nEXEC 1 two\n")
      passOn(0, 1, bytes, 0, 7, 10)
      passOn(0, 1, bytes, 11, 18, 21)
      peers[1].outbox.flush()
      const [chunk, ...others] = peers[1].chunks
      assert.deepStrictEqual(others, [])
      assert(chunk !== undefined)
      assert.strictEqual(chunk.buffer, bytes.buffer)
      assert.strictEqual(chunk.byteOffset, bytes.byteOffset)
      assert.strictEqual(chunk.length, bytes.length)
      assert.deepStrictEqual(peers[1].lines(), ["EXEC 0 one", "EXEC 0 two"])
    }).pipe(Effect.scoped)
  )

  it.effect.each([
    ["longer than the target's", 0, "EXEC 11 x\n", 8],
    ["shorter than the target's", 10, "EXEC * x\n", 7],
    ["ended by CR LF", 0, "EXEC 1 x\r\n", 7]
  ] as const)("is copied where it is %s, and the bytes that were read stay", ([, from, line, start]) =>
    Effect.gen(function* () {
      const { passOn, peers } = yield* setUp(12)
      const bytes = received(line)
      passOn(from, 11, bytes, 0, start, start + 1)
      peers[11].outbox.flush()
      assert.isTrue(peers[11].chunks.every(({ buffer }) => buffer !== bytes.buffer))
      assert.strictEqual(bytes.toString(), line)
      assert.deepStrictEqual(peers[11].lines(), [`EXEC ${from} x`])
    }).pipe(Effect.scoped)
  )

  it.effect("stays as it was read where the target is congested, to be routed once more", () =>
    Effect.gen(function* () {
      const { passOn, peers, stats } = yield* setUp(2, 100)
      const bytes = Buffer.from("EXEC 1 x\n")
      const { outbox } = peers[1]
      peers[1].lastRankSent = -1
      peers[1].congest()
      const held = passOn(0, 1, bytes, 0, 7, 8)
      assert.isTrue(held._tag === "Held" && held.outbox === outbox)
      assert.strictEqual(bytes.toString(), "EXEC 1 x\n")
      assert.deepStrictEqual(stats.untracked, { delivered: 0, missed: 0, denied: 0 })
      assert.deepStrictEqual(new Set(peers[1].lines()), new Set(["filler"]))
      assert.strictEqual(passOn(0, 1, bytes, 0, 7, 8)._tag, "Sent")
      assert.deepStrictEqual(peers[1].lines(), ["RANK 1 2 2 m2", "EXEC 0 x"])
      assert.deepStrictEqual(stats.untracked, { delivered: 1, missed: 0, denied: 0 })
    }).pipe(Effect.scoped)
  )
})

describe("a target", () => {
  it.effect("is the one that holds the rank now, in the encoding that it speaks now", () =>
    Effect.gen(function* () {
      const { deliver, group, passOn, peers } = yield* setUp(3)
      const [, b, c] = peers
      const pass = () => passOn(0, 1, Buffer.from("EXEC 1 x\n"), 0, 7, 8)
      pass()
      b.codec = jsonCodec
      pass()
      const { epoch } = group.roster()
      const inJson = jsonCodec.encodeServer({ _tag: "Exec", from: 0, command: "x", epoch })
      assert.deepStrictEqual(b.lines(), ["EXEC 0 x", inJson])
      yield* group.leave(b)
      pass()
      deliver(0, 1, 1, "y")
      assert.deepStrictEqual(c.lines(), ["RANK 1 2 4 m3", "EXEC 0 x", "EXEC 0 y"])
      assert.deepStrictEqual(b.lines(), [])
    }).pipe(Effect.scoped)
  )

  it.effect("that takes nothing more is missed", () =>
    Effect.gen(function* () {
      const { passOn, peers, stats } = yield* setUp(2)
      peers[1].outbox.close()
      const missed = passOn(0, 1, Buffer.from("EXEC 1 x\n"), 0, 7, 8)
      assert.deepStrictEqual(missed, { _tag: "Partly", missed: 1, denied: 0 })
      assert.deepStrictEqual(stats.untracked, { delivered: 0, missed: 1, denied: 0 })
    }).pipe(Effect.scoped)
  )

  it.effect("that is congested keeps the command from all the others, tracked or not", () =>
    Effect.gen(function* () {
      const { deliver, issuer, peers, stats } = yield* setUp(4, 100)
      const [a, b, c, d] = peers
      for (const peer of [b, c, d]) peer.lastRankSent = -1
      d.congest()
      for (const id of [undefined, "x"]) {
        const held = deliver(0, 1, 3, "uptime", id)
        assert.isTrue(held._tag === "Held" && held.outbox === d.outbox)
      }
      assert.deepStrictEqual([a.lines(), b.lines(), c.lines()], [[], [], []])
      assert.strictEqual(issuer.open.size, 0)
      assert.deepStrictEqual([stats.untracked.delivered, stats.trackedCommands], [0, 0])
      d.lines()
      assert.strictEqual(deliver(0, 1, 3, "uptime", "x")._tag, "Sent")
      assert.deepStrictEqual(c.lines(), ["RANK 2 4 4 m3", "EXEC#2 0 uptime"])
    }).pipe(Effect.scoped)
  )
})

describe("a line over the limit", () => {
  it.effect("keeps the command from everybody, also where it is too long in one encoding only", () =>
    Effect.gen(function* () {
      const { deliver, peers, stats } = yield* setUp(3)
      const [, text, json] = peers
      json.codec = jsonCodec
      const inJson = (command: string) =>
        jsonCodec.encodeServer({ _tag: "Exec", from: 0, command, epoch: 3 }).length + "\n".length
      const fits = "x".repeat(MAX_LINE - inJson(""))
      assert.strictEqual(deliver(0, 1, 2, `${fits}x`)._tag, "TooLong")
      assert.deepStrictEqual([text.lines(), json.lines(), stats.untracked.delivered], [[], [], 0])
      assert.strictEqual(deliver(0, 1, 2, fits)._tag, "Sent")
      assert.strictEqual(json.lines()[0]?.length, MAX_LINE - 1)
    }).pipe(Effect.scoped)
  )

  it.effect("leaves the largest id of the server's room, and opens no command", () =>
    Effect.gen(function* () {
      const { deliver, issuer, peers, stats } = yield* setUp(3)
      const room = `,"id":"${Number.MAX_SAFE_INTEGER}"`.length
      const fits = "x".repeat(MAX_LINE - "EXEC 0 \n".length - room)
      for (const last of [1, 2]) assert.strictEqual(deliver(0, 1, last, `${fits}x`, "x")._tag, "TooLong")
      assert.deepStrictEqual([issuer.open.size, stats.trackedCommands, peers[1].lines()], [0, 0, []])
      assert.strictEqual(deliver(0, 1, 1, fits, "x")._tag, "Sent")
      assert.strictEqual(deliver(0, 1, 2, fits, "y")._tag, "Sent")
    }).pipe(Effect.scoped)
  )
})

describe("a tracked command", () => {
  it.effect("has an id of the server's for each target, and an outcome at once where nobody gets it", () =>
    Effect.gen(function* () {
      const { deliver, issuer, peers, stats } = yield* setUp(5)
      const [a, b, json, denied, closed] = peers
      json.codec = jsonCodec
      denied.executes = false
      closed.outbox.close()
      assert.deepStrictEqual(deliver(0, 1, 4, "uptime", "job"), { _tag: "Sent" })
      assert.deepStrictEqual(b.lines(), ["EXEC#1 0 uptime"])
      const message = { _tag: "Exec", id: "2", from: 0, command: "uptime", epoch: 5 } as const
      assert.deepStrictEqual(json.lines(), [jsonCodec.encodeServer(message)])
      assert.deepStrictEqual([denied.lines(), closed.lines()], [[], []])
      assert.deepStrictEqual(a.lines(), ["RESULT#job 3 denied", "RESULT#job 4 undelivered"])
      assert.deepStrictEqual([...issuer.open.keys()], ["job"])
      assert.strictEqual(stats.trackedCommands, 1)
      assert.deepStrictEqual(stats.outcomes, { denied: 1, undelivered: 1 })
      assert.deepStrictEqual(stats.untracked, { delivered: 0, missed: 0, denied: 0 })
    }).pipe(Effect.scoped)
  )

  it.effect("is done at once where nobody gets it", () =>
    Effect.gen(function* () {
      const { deliver, issuer, peers } = yield* setUp(3)
      const [a, denied, closed] = peers
      denied.executes = false
      closed.outbox.close()
      deliver(0, 1, 2, "x", "both")
      deliver(0, 1, 1, "x", "one")
      deliver(0, 2, 2, "x", "other")
      assert.deepStrictEqual(a.lines(), [
        "RESULT#both 1 denied",
        "RESULT#both 2 undelivered",
        "DONE#both 0 2",
        "RESULT#one 1 denied",
        "DONE#one 0 1",
        "RESULT#other 2 undelivered",
        "DONE#other 0 1"
      ])
      assert.strictEqual(issuer.open.size, 0)
    }).pipe(Effect.scoped)
  )
})
