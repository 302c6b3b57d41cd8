/** An outbox writes what is appended, in order; and its behaviour while the socket accepts nothing. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Line } from "../../../src/protocol/LineBytes.ts"
import type { SlowConsumerCause } from "../../../src/server/events/CloseCause.ts"
import { FlushQueue } from "../../../src/server/outbound/FlushQueue.ts"
import { Outbox, type OutboxOptions } from "../../../src/server/outbound/Outbox.ts"
import { ServerTotal } from "../../../src/server/outbound/ServerTotal.ts"
import { SharedLines } from "../../../src/server/outbound/SharedLines.ts"
import type { Cancellable } from "../../../src/server/outbound/WriteBuffer.ts"
import { memoryTransport } from "./memoryTransport.ts"

const Step = Schema.Struct({
  kind: Schema.Literals([
    "append",
    "line",
    "cancellable",
    "cancellable",
    "cancellable",
    "broadcast",
    "piece",
    "piece",
    "stream",
    "cancel",
    "flush",
    "drain"
  ]),
  length: Schema.Literals([0, 1, 30, 127, 130, 3000]),
  /** Whether the socket accepts the next flush at once. */
  accepted: Schema.Boolean
})

const lineOf = (head: string, bytes: Uint8Array, start: number, end: number) => {
  const line = new Line()
  line.head.write(head)
  line.bytes = bytes
  line.start = start
  line.end = end
  return line
}

describe("Outbox", () => {
  it.prop(
    "writes what is appended in order, without the lines that were cancelled before their turn",
    [Schema.Array(Step).check(Schema.isMinLength(30), Schema.isMaxLength(80))],
    ([steps]) => {
      const { accept, drain, transport, written } = memoryTransport()
      const flushQueue = new FlushQueue()
      const options: OutboxOptions = {
        flushQueue,
        stats: { bytesSent: 0 },
        total: new ServerTotal(10_000_000, () => assert.fail("too much waits for all")),
        maxPending: 10_000_000,
        maxHold: Duration.millis(500),
        stallTimeout: Duration.seconds(10),
        now: () => 0,
        fork: Effect.runFork
      }
      const outbox = new Outbox(options, transport, () => assert.fail("slow"))
      /** The lines that are appended and not yet written. Until then a cancellable one may be cancelled. */
      const waiting: Array<{ readonly text: string; wanted: boolean; readonly cancellable: boolean }> = []
      const expected: Array<string> = []
      let inFlight = false
      /** A received chunk: consecutive pieces of it are passed on. */
      let read = Buffer.alloc(0)
      let at = 0
      const shared = new SharedLines()
      let count = 0

      const flush = (accepted: boolean) => {
        accept(accepted)
        flushQueue.flush()
        if (inFlight) return
        const sent = waiting.splice(0).filter(({ wanted }) => wanted)
        expected.push(...sent.map(({ text }) => text))
        inFlight = sent.some(({ text }) => text !== "") && !accepted
      }

      for (const { accepted, kind, length } of steps) {
        const text = `${++count}${"x".repeat(length)}`
        const bytes = Buffer.from(`__${text}__`)
        const [start, end] = [2, bytes.length - 2]
        const cancellable: Cancellable = { send: () => entry.wanted }
        const entry = { text: `${text}\n`, wanted: true, cancellable: kind === "cancellable" }
        switch (kind) {
          case "append":
            outbox.append(bytes, start, end)
            waiting.push({ ...entry, text })
            break
          case "line":
            outbox.appendLineOf(lineOf("EXEC 0 ", bytes, start, end))
            waiting.push({ ...entry, text: `EXEC 0 ${text}\n` })
            break
          case "cancellable":
            outbox.appendLineOf(lineOf("", bytes, start, end), cancellable)
            waiting.push(entry)
            break
          case "broadcast":
            shared.add(lineOf("EXEC 1 ", bytes, start, end))
            outbox.appendShared(shared.bytes, shared.start, shared.end)
            waiting.push({ ...entry, text: `EXEC 1 ${text}\n` })
            break
          case "piece":
            if (at + text.length + 7 > read.length || length === 1) {
              read = Buffer.alloc(8192, "-")
              at = length
            }
            // Not every received line is for this client.
            if (accepted) at += 7
            read.write(text, at)
            outbox.appendShared(read, at, at + text.length)
            at += text.length
            waiting.push({ ...entry, text })
            break
          case "stream":
            outbox.appendStream([Buffer.from(text), Buffer.from("END\n")].values())
            waiting.push({ ...entry, text: `${text}END\n` })
            assert.isTrue(outbox.readPaused)
            break
          case "cancel":
            for (const [index, one] of waiting.entries()) {
              if (one.cancellable && (index + length) % 3 > 0) one.wanted = false
            }
            break
          case "flush":
            flush(accepted)
            // Bytes that were not written must be copies by now.
            if (inFlight) read.fill("!")
            break
          case "drain":
            inFlight = false
            accept(true)
            if (drain()) flush(true)
        }
      }
      inFlight = false
      accept(true)
      drain()
      flush(true)
      assert.strictEqual(written.join(""), expected.join(""))
      assert.strictEqual(outbox.pending, 0)
      assert.isFalse(outbox.readPaused)
    },
    { arbitrary: { runs: 1000 } }
  )
})

const MAX_PENDING = 1000
const MAX_TOTAL = 1500

/** An outbox on the test's clock, whose socket accepts nothing until it is drained. */
const outboxes = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  let exceeded = 0
  const options: OutboxOptions = {
    flushQueue: new FlushQueue(),
    stats: { bytesSent: 0 },
    total: new ServerTotal(MAX_TOTAL, () => exceeded++),
    maxPending: MAX_PENDING,
    maxHold: Duration.millis(500),
    stallTimeout: Duration.seconds(10),
    now: () => Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n),
    fork: Effect.runForkWith(yield* Effect.context<never>())
  }
  const make = () => {
    const memory = memoryTransport()
    memory.accept(false)
    const causes: Array<SlowConsumerCause> = []
    const outbox = new Outbox(options, memory.transport, (cause) => causes.push(cause))
    return {
      ...memory,
      outbox,
      causes,
      /** Appends so many bytes and flushes. Returns whether the outbox accepted them. */
      put: (length: number) => {
        const taken = outbox.append(Buffer.alloc(length, "x"), 0, length)
        options.flushQueue.flush()
        return taken
      }
    }
  }
  return { make, options, exceeded: () => exceeded }
})

const outbox = Effect.map(outboxes, ({ make }) => make())

/** Lets woken fibers run. */
const settled = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

const lengths = (written: ReadonlyArray<string>) => written.map(({ length }) => length)

describe("an outbox", () => {
  it.effect("writes nothing while a write is in flight, and then all waiting bytes at once", () =>
    Effect.gen(function* () {
      const { drain, outbox: it, put, written } = yield* outbox
      for (const length of [10, 20, 30]) put(length)
      assert.deepStrictEqual(lengths(written), [10])
      assert.strictEqual(it.pending, 60)
      drain()
      assert.deepStrictEqual(lengths(written), [10, 50])
      drain()
      assert.strictEqual(it.pending, 0)
    })
  )

  it.effect("is queued and flushed once per batch", () =>
    Effect.gen(function* () {
      const { make, options } = yield* outboxes
      const { accept, outbox: it, written } = make()
      let queued = 0
      const { add } = options.flushQueue
      options.flushQueue.add = (flushable) => {
        queued++
        add.call(options.flushQueue, flushable)
      }
      accept(true)
      for (let batch = 0; batch < 2; batch++) {
        for (const line of ["a", "b", "c"]) it.appendLine(line)
        options.flushQueue.flush()
      }
      assert.deepStrictEqual(written, ["a\nb\nc\n", "a\nb\nc\n"])
      assert.strictEqual(queued, 2)
    })
  )

  it.effect("accepts as many bytes as may wait; one more makes a slow consumer, reported once", () =>
    Effect.gen(function* () {
      const { accept, causes, drain, outbox: it, put, written } = yield* outbox
      assert.isTrue(put(1))
      assert.isTrue(put(MAX_PENDING - 1))
      assert.deepStrictEqual(causes, [])
      assert.isFalse(put(1))
      assert.isFalse(put(1))
      assert.deepStrictEqual(causes, ["pending bytes"])
      assert.isFalse(it.congested || it.readPaused)
      // Accepted bytes are still written.
      accept(true)
      drain()
      assert.deepStrictEqual(lengths(written), [1, MAX_PENDING - 1])
    })
  )

  it.effect("accepts no line that alone exceeds the limit", () =>
    Effect.gen(function* () {
      const { causes, put } = yield* outbox
      assert.isFalse(put(MAX_PENDING + 1))
      assert.deepStrictEqual(causes, ["pending bytes"])
    })
  )

  it.effect("gives each write until the stall timeout", () =>
    Effect.gen(function* () {
      const { causes, drain, put } = yield* outbox
      put(1)
      put(1)
      yield* TestClock.adjust("9999 millis")
      drain()
      yield* TestClock.adjust("9999 millis")
      assert.deepStrictEqual(causes, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(causes, ["write deadline"])
      assert.isFalse(put(1))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(causes, ["write deadline"])
    })
  )

  it.effect("has no deadline while nothing is in flight", () =>
    Effect.gen(function* () {
      const { accept, causes, drain, put } = yield* outbox
      put(1)
      drain()
      accept(true)
      put(1)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(causes, [])
    })
  )

  it.effect("is congested from half of the limit until a quarter; others wait meanwhile", () =>
    Effect.gen(function* () {
      const { drain, outbox: it, put } = yield* outbox
      put(200)
      put(300)
      assert.isFalse(it.congested || it.readPaused)
      put(1)
      assert.isTrue(it.congested && it.readPaused)
      const waits = yield* Effect.forkChild(it.writable)
      const reads = yield* Effect.forkChild(it.drained)
      yield* settled
      // Only 301 bytes wait now: fewer than half, more than a quarter.
      drain()
      yield* settled
      assert.isTrue(it.congested && it.readPaused)
      assert.deepStrictEqual([waits.pollUnsafe(), reads.pollUnsafe()], [undefined, undefined])
      drain()
      assert.isFalse(it.congested || it.readPaused)
      yield* Fiber.join(waits)
      yield* Fiber.join(reads)
    })
  )

  it.effect("makes others wait for a limited time, but its own client until it has read", () =>
    Effect.gen(function* () {
      const { drain, outbox: it, put } = yield* outbox
      put(400)
      yield* TestClock.adjust("100 millis")
      put(200)
      yield* TestClock.adjust("200 millis")
      // More bytes do not restart the time.
      put(200)
      const waits = yield* Effect.forkChild(it.writable)
      const reads = yield* Effect.forkChild(it.drained)
      yield* TestClock.adjust("299 millis")
      assert.isTrue(it.congested)
      assert.isUndefined(waits.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.isFalse(it.congested)
      yield* Fiber.join(waits)
      assert.isTrue(it.readPaused)
      assert.isUndefined(reads.pollUnsafe())
      yield* it.writable
      drain()
      drain()
      yield* Fiber.join(reads)
      // After it has recovered, the time starts again.
      put(400)
      put(200)
      assert.isTrue(it.congested)
    })
  )

  it.effect("pauses reading until the last piece of a stream is written", () =>
    Effect.gen(function* () {
      const { accept, drain, outbox: it, put, written } = yield* outbox
      put(1)
      it.appendStream(["a".repeat(70_000), "b"].map((piece) => Buffer.from(piece)).values())
      assert.isTrue(it.readPaused)
      const reads = yield* Effect.forkChild(it.drained)
      drain()
      yield* settled
      assert.deepStrictEqual(lengths(written), [1, 70_000])
      assert.isTrue(it.readPaused)
      assert.isUndefined(reads.pollUnsafe())
      accept(true)
      drain()
      assert.deepStrictEqual(lengths(written), [1, 70_000, 1])
      assert.isFalse(it.readPaused)
      yield* Fiber.join(reads)
    })
  )

  it.effect("resumes no fiber inline", () =>
    Effect.gen(function* () {
      const { drain, outbox: it, put } = yield* outbox
      put(1)
      put(600)
      const resumed: Array<string> = []
      yield* Effect.forkChild(Effect.tap(it.writable, () => Effect.sync(() => resumed.push("writable"))))
      yield* Effect.forkChild(Effect.tap(it.drained, () => Effect.sync(() => resumed.push("drained"))))
      yield* settled
      drain()
      drain()
      assert.deepStrictEqual(resumed, [])
      yield* Effect.promise(() => Promise.resolve())
      assert.sameMembers(resumed, ["writable", "drained"])
    })
  )

  it.effect("makes no one wait after it is closed, and accepts nothing more", () =>
    Effect.gen(function* () {
      const { accept, causes, drain, outbox: it, put, written } = yield* outbox
      put(1)
      put(600)
      const waits = yield* Effect.forkChild(it.writable)
      yield* settled
      it.close()
      assert.isFalse(it.congested || it.readPaused)
      yield* Fiber.join(waits)
      assert.isFalse(put(1))
      it.appendStream([Buffer.from("y")].values())
      accept(true)
      drain()
      assert.deepStrictEqual(lengths(written), [1, 600])
      assert.deepStrictEqual(causes, [])
    })
  )

  it.effect("finishes with its last line, once the socket has accepted it", () =>
    Effect.gen(function* () {
      const { drain, outbox: it, put, written } = yield* outbox
      put(1)
      put(1)
      const finishes = yield* Effect.forkChild(it.finish("BYE kicked"))
      yield* settled
      assert.isFalse(put(1))
      drain()
      yield* settled
      assert.isUndefined(finishes.pollUnsafe())
      drain()
      yield* Fiber.join(finishes)
      assert.deepStrictEqual(written, ["x", "xBYE kicked\n"])
    })
  )

  it.effect("finishes when the write in flight fails, and then has nothing pending", () =>
    Effect.gen(function* () {
      const { causes, fail, outbox: it, put, written } = yield* outbox
      put(1)
      put(1)
      const finishes = yield* Effect.forkChild(it.finish("BYE kicked"))
      yield* settled
      fail()
      yield* Fiber.join(finishes)
      assert.deepStrictEqual(written, ["x"])
      assert.strictEqual(it.pending, 0)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(causes, [])
    })
  )

  it.effect("drops the waiting bytes when its connection is gone", () =>
    Effect.gen(function* () {
      const { close, outbox: it, put, written } = yield* outbox
      close()
      put(1)
      assert.strictEqual(it.pending, 0)
      assert.isFalse(put(1))
      assert.deepStrictEqual(written, [])
    })
  )

  it.effect("reports its waiting bytes to the server's total when it is flushed", () =>
    Effect.gen(function* () {
      const { exceeded, make, options } = yield* outboxes
      const [a, b] = [make(), make()]
      a.put(MAX_PENDING)
      b.put(500)
      assert.strictEqual(exceeded(), 0)
      b.outbox.append(Buffer.from("x"), 0, 1)
      assert.strictEqual(exceeded(), 0)
      options.flushQueue.flush()
      assert.strictEqual(exceeded(), 1)
      a.drain()
      assert.strictEqual(exceeded(), 1)
      b.put(499)
      assert.strictEqual(exceeded(), 1)
      a.put(500)
      assert.strictEqual(exceeded(), 1)
      a.put(1)
      assert.strictEqual(exceeded(), 2)
      // Closing subtracts the bytes that waited.
      a.close()
      b.close()
      const c = make()
      c.put(MAX_PENDING)
      assert.strictEqual(exceeded(), 2)
    })
  )

  it.effect("sheds its waiting bytes for the server's total; bytes in flight stay", () =>
    Effect.gen(function* () {
      const { exceeded, make } = yield* outboxes
      const [a, b] = [make(), make()]
      a.put(100)
      a.put(900)
      a.outbox.shed()
      assert.deepStrictEqual(a.causes, ["server total"])
      assert.strictEqual(a.outbox.pending, 100)
      assert.isFalse(a.put(1))
      // The total has room again for the shed bytes, and no more.
      const c = make()
      b.put(MAX_PENDING)
      c.put(400)
      assert.strictEqual(exceeded(), 0)
      c.put(1)
      assert.strictEqual(exceeded(), 1)
      a.outbox.shed()
      assert.deepStrictEqual(a.causes, ["server total"])
      a.drain()
      assert.deepStrictEqual(lengths(a.written), [100])
    })
  )
})
