/** What the server makes of the epoch that a client says in its `Hello`. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { TestClock } from "effect/testing"
import type { MemorySocket } from "../support/MemorySocket.ts"
import { connect, Network, passes, say, server, settled } from "../support/memoryServer.ts"
import { transcript } from "../support/transcript.ts"

const HOUR = 3_600_000

const hello = (client: MemorySocket, fields: object = {}) =>
  say(client, JSON.stringify({ _tag: "Hello", protocol: 1, ...fields }))

/** The epochs in these lines, in order. */
const epochsIn = (lines: ReadonlyArray<string>) =>
  lines.flatMap((line) => (/^RANK \d+ \d+ (\d+)|"epoch":(\d+)/.exec(line) ?? []).slice(1).filter(Boolean).map(Number))

/** A client that connects and says `Hello`; the epochs that it hears from `Welcome` on. */
const arrive = Effect.fnUntraced(function* (fields: object = {}) {
  const client = yield* (yield* Network).connect
  const heard = yield* hello(client, fields)
  const epochs = epochsIn(heard.slice(heard.findIndex((line) => line.includes('"Welcome"'))))
  return { client, epochs }
})

const settings = [
  { admission: "connect" },
  { admission: "hello" },
  { admission: "connect", grace: Duration.seconds(10) }
] as const

describe("a server that starts again with its clock an hour behind", () => {
  for (const [at, of] of settings.entries()) {
    it.effect.each([{}, { name: "boss" }, { group: "jobs" }, { group: "jobs", name: "boss" }])(
      `continues the epochs that a client knows (settings ${at}, %o)`,
      (fields) =>
        Effect.gen(function* () {
          yield* TestClock.setTime(5 * HOUR)
          const epoch = yield* Effect.gen(function* () {
            for (let other = 0; other < 3; other++) yield* arrive({ group: fields.group ?? "default" })
            return Math.max(...(yield* arrive(fields)).epochs)
          }).pipe(server(of))
          yield* TestClock.setTime(4 * HOUR)
          yield* Effect.gen(function* () {
            const back = yield* arrive({ ...fields, epoch })
            assert.isNotEmpty(back.epochs)
            for (const heard of back.epochs) assert.isAbove(heard, epoch)
            // And so do all that come after it, in every way, while the clock is still behind.
            let last = Math.max(...back.epochs)
            for (const said of [{}, { epoch: 3 }, { epoch: last - 1 }]) {
              const [next = 0] = (yield* arrive({ group: fields.group ?? "default", ...said })).epochs
              assert.isAbove(next, last)
              last = next
            }
          }).pipe(server(of))
        })
    )
  }
})

describe("the epoch in a Hello", () => {
  it.effect("is below that of the Welcome, also when the order does not change; no other member hears of it", () =>
    transcript(`
      a> connect
      a  RANK 0 1 1 m1
      b> connect
      b  RANK 1 2 2 m2
      a> {"_tag":"Hello","protocol":1,"epoch":3600000000}
      a  {"_tag":"Welcome","protocol":1,"server":"rankd/0.1.0","member":"m1","group":"default","rank":0,"size":2,"epoch":3600000001,"maxLine":65536,"heartbeat":0,"commandTimeout":60000,"maxCommandTimeout":3600000}
      a> {"_tag":"Hello","protocol":1,"name":"boss","epoch":3600000001}
      a  {"_tag":"Welcome","protocol":1,"server":"rankd/0.1.0","member":"m1","group":"default","rank":0,"size":2,"epoch":3600000002,"maxLine":65536,"heartbeat":0,"commandTimeout":60000,"maxCommandTimeout":3600000}
      a  {"_tag":"Named","rank":0,"member":"m1","name":"boss"}
      b  (nothing)
      c> connect
      c  RANK 2 3 3600000003 m3
    `).pipe(server())
  )

  it.effect("changes nothing in an order that is further, whether the client keeps its seat or takes a name", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(HOUR)
      const [a] = yield* connect(1)
      const now = HOUR * 1000
      for (const fields of [{}, { epoch: 0 }, { epoch: 7 }, { epoch: now - 1 }, { name: "x", epoch: now - 1 }]) {
        assert.deepStrictEqual(new Set(epochsIn(yield* hello(a, fields))), new Set([now]))
      }
      assert.deepStrictEqual(epochsIn(yield* hello(a, { name: "y", epoch: now })), [now + 1])
    }).pipe(server())
  )

  it.effect("counts up to a day ahead of the server's clock; beyond that it is ignored", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(HOUR)
      const day = 25 * HOUR * 1000
      for (const epoch of [day + 1, 2 * day, Number.MAX_SAFE_INTEGER]) {
        const { client, epochs } = yield* arrive({ epoch })
        assert.isBelow(epochs[0]!, HOUR * 1000 + 10)
        const joined = epochsIn(yield* hello(client, { group: "other", epoch }))
        assert.isBelow(joined[0]!, HOUR * 1000 + 10)
      }
      assert.deepStrictEqual((yield* arrive({ epoch: day })).epochs, [day + 1, day + 1])
    }).pipe(server({ admission: "hello" }))
  )

  it.effect("is malformed if it is no whole number below 2^53", () =>
    Effect.gen(function* () {
      const [a] = yield* connect(1)
      for (const epoch of ["-1", "1.5", "9007199254740992", "1e400", '"7"', "null", "true", "[]"]) {
        const heard = yield* say(a, `{"_tag":"Hello","protocol":1,"epoch":${epoch}}`)
        const detail = "epoch: expected a whole number from 0 to 9007199254740991"
        assert.deepStrictEqual(heard, [JSON.stringify({ _tag: "Error", reason: "malformed", rank: 0, detail })])
      }
    }).pipe(server())
  )

  it.effect("is that of the group that the client enters, and does not count in the one that it leaves", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      const heard = yield* hello(a, { group: "jobs", epoch: 5000 })
      for (const epoch of epochsIn(heard)) assert.isAbove(epoch, 5000)
      assert.isBelow(epochsIn(yield* say(b, '{"_tag":"Ranks"}')).at(-1)!, 5000)
    }).pipe(server())
  )

  it.effect("does not count if the server refuses the Hello", () =>
    Effect.gen(function* () {
      const { client: a } = yield* arrive({ name: "ann" })
      const { client: b } = yield* arrive()
      const full = yield* arrive({ group: "full" })
      yield* arrive({ group: "full" })
      for (const fields of [{ name: "ann" }, { group: "full" }, { name: "x", protocol: 2 }]) {
        assert.include((yield* hello(b, { ...fields, epoch: 5000 })).join(), '"Error"')
      }
      for (const client of [a, full.client]) {
        assert.isBelow(epochsIn(yield* say(client, '{"_tag":"Ranks"}')).at(-1)!, 100)
      }
    }).pipe(server({ admission: "hello", maxClients: 2 }))
  )

  it.effect("counts when the client comes back to its seat, whether another connection has it or its own", () =>
    Effect.gen(function* () {
      const client = yield* (yield* Network).connect
      const resume = /"resume":"([^"]+)"/.exec((yield* hello(client)).join())?.[1]
      const own = epochsIn(yield* hello(client, { resume, epoch: 1000 }))
      assert.deepStrictEqual(own, [1001])
      const taking = yield* (yield* Network).connect
      yield* hello(taking, { resume, epoch: 500_000 })
      yield* passes("100 millis")
      assert.deepStrictEqual(epochsIn(taking.lines()), [500_001, 500_001])
      taking.reset()
      yield* settled
      const back = yield* arrive({ resume, epoch: 600_000 })
      assert.deepStrictEqual(back.epochs, [600_001, 600_001])
    }).pipe(server({ grace: Duration.minutes(10), linger: Duration.seconds(1) }))
  )

  it.effect("still counts after the group was empty and the clock was set back", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(5 * HOUR)
      const { client, epochs } = yield* arrive({ group: "jobs", epoch: 6 * HOUR * 1000 })
      yield* say(client, '{"_tag":"Quit"}')
      yield* TestClock.setTime(HOUR)
      const again = yield* arrive({ group: "jobs" })
      for (const epoch of again.epochs) assert.isAbove(epoch, epochs[0]!)
    }).pipe(server())
  )
})
