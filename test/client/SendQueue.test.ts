/** Which lines reach the socket, when, and which callers wait. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Latch } from "effect"
import type { Socket } from "effect/socket"
import { SendQueue } from "../../src/client/SendQueue.ts"
import type { ClientMessage } from "../../src/protocol/Messages.ts"
import { until } from "../support/until.ts"

/** A writer that keeps what it is given; while the latch is closed it does not finish a write. */
const writer = () => {
  const written: Array<string> = []
  const latch = Latch.makeUnsafe(true)
  const write: Socket.Writer["write"] = (chunk) =>
    Effect.suspend(() => {
      written.push(`${chunk}`)
      return latch.await
    })
  return { written, latch, writer: { write, writeAll: () => Effect.void } }
}

const output = (text: string): ClientMessage => ({ _tag: "Output", id: "1", text })

const half = "x".repeat(512 * 1024)

/** Whether it has not ended. */
const isWaiting = (fiber: Fiber.Fiber<unknown>) => fiber.pollUnsafe() === undefined

describe("SendQueue", () => {
  it.effect("drops what is added without a connection", () =>
    Effect.gen(function* () {
      const queue = new SendQueue()
      const { writer: to, written } = writer()
      let sent = 0
      queue.add(output("a"), () => sent++)
      const sending = yield* Effect.forkChild(Effect.flatten(queue.open(to)), { startImmediately: true })
      queue.add(output("b"), () => sent++)
      yield* until(() => written.length === 1)
      yield* Fiber.interrupt(sending)
      queue.close()
      queue.add(output("c"), () => sent++)
      assert.deepStrictEqual(written, ['{"_tag":"Output","id":"1","text":"b"}\n'])
      assert.strictEqual(sent, 1)
    })
  )

  it.effect("keeps the order, in writes of about 64 KB, and reports each line as sent with its own write", () =>
    Effect.gen(function* () {
      const queue = new SendQueue()
      const { latch, writer: to, written } = writer()
      const send = yield* queue.open(to)
      const sent: Array<number> = []
      for (let index = 0; index < 10; index++)
        queue.add(output(`${index}${"x".repeat(30_000)}`), () => sent.push(index))
      latch.closeUnsafe()
      const sending = yield* Effect.forkChild(send, { startImmediately: true })
      yield* until(() => written.length === 1)
      assert.deepStrictEqual(sent, [0, 1, 2])
      latch.openUnsafe()
      yield* until(() => sent.length === 10)
      yield* Fiber.interrupt(sending)
      const order = [...written.join("").matchAll(/"text":"(\d)/g)].map(([, digit]) => Number(digit))
      assert.deepStrictEqual(order, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
      assert.strictEqual(written.length, 4)
    })
  )

  it.effect("makes callers wait while more than a million characters wait, until they are written", () =>
    Effect.gen(function* () {
      const queue = new SendQueue()
      const { latch, writer: to } = writer()
      const send = yield* queue.open(to)
      queue.add(output(half))
      yield* queue.room
      queue.add(output(half))
      const caller = yield* Effect.forkChild(queue.room, { startImmediately: true })
      latch.closeUnsafe()
      const sending = yield* Effect.forkChild(send, { startImmediately: true })
      assert.isTrue(isWaiting(caller))
      latch.openUnsafe()
      yield* Fiber.join(caller)
      yield* Fiber.interrupt(sending)
    })
  )

  it.effect("frees waiting callers when the connection ends, and counts anew on the next", () =>
    Effect.gen(function* () {
      const queue = new SendQueue()
      yield* queue.open(writer().writer)
      queue.add(output(half))
      queue.add(output(half))
      const caller = yield* Effect.forkChild(queue.room, { startImmediately: true })
      assert.isTrue(isWaiting(caller))
      queue.close()
      yield* Fiber.join(caller)
      yield* queue.open(writer().writer)
      queue.add(output(half))
      yield* queue.room
    })
  )
})
