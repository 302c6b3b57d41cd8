/** Lost connections, resumptions and departures in any order, against an array of the present and absent members. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Schema } from "effect"
import { TestClock } from "effect/testing"
import type { MemorySocket } from "../../support/MemorySocket.ts"
import { Network, say, server, settled } from "../../support/memoryServer.ts"

/** The longest delay of a client that takes over a connection, in milliseconds. */
const LONGEST_WAIT = 5000

const GRACE = 5000

const Whom = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99 }))
const Step = Schema.Union([
  Schema.TaggedStruct("Join", {}),
  Schema.TaggedStruct("Lose", { whom: Whom, how: Schema.Literals(["reset", "close"]) }),
  Schema.TaggedStruct("Quit", { whom: Whom }),
  Schema.TaggedStruct("Yield", { whom: Whom }),
  /** A client shows the resume token of a member that is present, absent or gone. */
  Schema.TaggedStruct("Return", { whom: Whom }),
  Schema.TaggedStruct("Return", { whom: Whom }),
  Schema.TaggedStruct("Pass", { millis: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 3000 })) })
])

interface Known {
  readonly member: string
  readonly resumeToken: string
  /** Undefined while the member is absent. */
  socket: MemorySocket | undefined
  absentUntil: number
}

const run = Effect.fnUntraced(function* (steps: ReadonlyArray<typeof Step.Type>) {
  const network = yield* Network
  let order: Array<Known> = []
  /** All members, those that have left included. */
  const known: Array<Known> = []
  const epochs = new Map<MemorySocket, number>()
  let now = 0

  const pass = Effect.fnUntraced(function* (millis: number) {
    now += millis
    yield* TestClock.adjust(millis)
    yield* settled
    order = order.filter(({ absentUntil, socket }) => socket !== undefined || absentUntil > now)
  })

  /** The answer to a `Hello`: the first line for the client, before its rank. */
  const enter = Effect.fnUntraced(function* (resume?: string) {
    const socket = yield* network.connect
    const heard = [...socket.lines(), ...(yield* say(socket, JSON.stringify({ _tag: "Hello", protocol: 1, resume })))]
    // It waits while the seat has a connection.
    for (let waited = 0; heard.length === 0 && waited <= LONGEST_WAIT; waited += 100) {
      yield* pass(100)
      heard.push(...socket.lines())
    }
    const [welcome, rank] = heard.map((line) => JSON.parse(line))
    assert.strictEqual(rank._tag, "Rank")
    assert.strictEqual(welcome?._tag, "Welcome")
    assert.deepInclude(welcome, { rank: rank.rank, epoch: rank.epoch, member: rank.member })
    epochs.set(socket, welcome.epoch)
    return { socket, member: welcome.member as string, resumeToken: welcome.resume as string }
  })

  const join = Effect.fnUntraced(function* (resumeToken?: string) {
    const newcomer: Known = { ...(yield* enter(resumeToken)), absentUntil: 0 }
    assert.isFalse(known.some(({ member }) => member === newcomer.member))
    known.push(newcomer)
    order.push(newcomer)
  })

  yield* join()
  const warden = order[0]!
  for (const step of steps) {
    const pick = <A>(from: ReadonlyArray<A>) =>
      "whom" in step ? from[Math.floor((step.whom / 100) * from.length)] : undefined
    const there = pick(order.filter(({ socket }) => socket !== undefined && socket !== warden.socket))
    switch (step._tag) {
      case "Join":
        yield* join()
        break
      case "Lose":
        there?.socket?.[step.how]()
        if (there === undefined) break
        there.socket = undefined
        there.absentUntil = now + GRACE
        break
      case "Quit":
        there?.socket?.send('{"_tag":"Quit"}\n')
        order = order.filter((one) => one !== there)
        break
      case "Yield":
        if (there === undefined) break
        there.socket!.send('{"_tag":"Yield"}\n')
        order = [...order.filter((one) => one !== there), there]
        break
      case "Return": {
        const who = pick(known.slice(1))
        if (who === undefined) break
        if (!order.includes(who)) {
          yield* join(who.resumeToken)
          break
        }
        const { member, resumeToken, socket } = yield* enter(who.resumeToken)
        assert.deepStrictEqual([member, resumeToken], [who.member, who.resumeToken])
        if (who.socket !== undefined) assert.include(who.socket.lines().at(-1)!, "kicked")
        who.socket = socket
        break
      }
      case "Pass":
        yield* pass(step.millis)
    }
    yield* settled
    // Two sweeps, and the rest between them.
    yield* pass(50)
    const heard = yield* say(warden.socket!, '{"_tag":"Ranks"}')
    const { members } = JSON.parse(heard.at(-1)!) as { members: ReadonlyArray<{ member: string; address: string }> }
    assert.deepStrictEqual(
      members.map(({ address, member }) => `${member} ${address}`),
      order.map(({ member, socket }) => `${member} ${socket === undefined ? "absent" : "unknown"}`)
    )
    for (const [rank, { socket }] of order.entries()) {
      if (socket === undefined || socket === warden.socket) continue
      const last = (yield* say(socket, '{"_tag":"Ping"}', '{"_tag":"Explain","to":"0"}')).map((line) =>
        JSON.parse(line)
      )
      // An error has the present rank; the ranks before it never get worse.
      assert.strictEqual(last.at(-1).rank, rank)
      for (const { _tag, epoch } of last) {
        if (_tag !== "Rank") continue
        assert.isAbove(epoch, epochs.get(socket)!)
        epochs.set(socket, epoch)
      }
    }
  }
})

describe("reserved seats", () => {
  it.effect.prop(
    "behave like an array of members, in any order of events",
    [Schema.Array(Step).check(Schema.isMinLength(10), Schema.isMaxLength(40))],
    ([steps]) => run(steps).pipe(server({ grace: Duration.millis(GRACE), admission: "hello" })),
    { timeout: 120_000, arbitrary: { runs: 100, size: 40 } }
  )
})
