/** Reserved seats of members that lost their connections. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import type { MemorySocket } from "../../support/MemorySocket.ts"
import { Network, passes, say, server, settled } from "../../support/memoryServer.ts"

const GRACE = Duration.seconds(5)

interface Welcome {
  readonly member: string
  readonly group: string
  readonly rank: number
  readonly size: number
  readonly epoch: number
  readonly resume: string | undefined
  /** The lines after it. */
  readonly after: ReadonlyArray<string>
}

/** Sends `Hello`; one of the answers must be `Welcome`. */
const hello = Effect.fnUntraced(function* (client: MemorySocket, fields: object = {}) {
  const heard = yield* say(client, JSON.stringify({ _tag: "Hello", protocol: 1, ...fields }))
  const at = heard.findIndex((line) => line.includes('"Welcome"'))
  assert.isAtLeast(at, 0, `no Welcome: ${heard}`)
  return { ...JSON.parse(heard[at]!), after: heard.slice(at + 1) } as Welcome
})

const program = Effect.fnUntraced(function* (fields: object = {}) {
  const network = yield* Network
  const client = yield* network.connect
  return { client, welcome: yield* hello(client, fields) }
})

/** A client that resumes a seat whose connection still exists: its answer comes after so many milliseconds. */
const takingOver = Effect.fnUntraced(function* (resume: string | undefined, wait: number, it?: MemorySocket) {
  const client = it ?? (yield* (yield* Network).connect)
  const hello = JSON.stringify({ _tag: "Hello", protocol: 1, resume })
  assert.notInclude((yield* say(client, hello)).join(), "Welcome")
  yield* TestClock.adjust(wait - 1)
  yield* settled
  assert.notInclude(client.lines().join(), "Welcome", `${wait}`)
  yield* TestClock.adjust(1)
  yield* settled
  const [welcome = "no Welcome", ...after] = client.lines()
  assert.include(welcome, '"Welcome"', `${wait}`)
  return { client, welcome: { ...JSON.parse(welcome), after } as Welcome }
})

/** The ranks, as this member sees them. */
const ranks = (client: MemorySocket) =>
  Effect.map(say(client, '{"_tag":"Ranks"}'), (lines) =>
    (JSON.parse(lines.at(-1)!).members as ReadonlyArray<{ member: string; name?: string; address: string }>).map(
      ({ address, member, name = "-" }) => `${member} ${name} ${address}`
    )
  )

const served = server({ grace: GRACE })

describe("the seat of a member that lost its connection", () => {
  it.effect("belongs to it again if it shows its resume token in time; no member moves", () =>
    Effect.gen(function* () {
      const a = yield* program({ name: "boss", group: "jobs" })
      const b = yield* program({ group: "jobs" })
      assert.match(a.welcome.resume!, /^[A-Za-z0-9_-]{32}$/)
      assert.notStrictEqual(a.welcome.resume, b.welcome.resume)
      yield* say(b.client, '{"_tag":"Watch"}')
      a.client.reset()
      yield* passes("4 seconds")
      assert.deepStrictEqual(yield* ranks(b.client), ["m1 boss absent", "m2 - unknown"])
      // The name in its `Hello` does not count.
      const back = yield* program({ resume: a.welcome.resume, name: "other" })
      const { after, epoch, ...welcome } = back.welcome
      assert.deepInclude(welcome, { member: "m1", group: "jobs", rank: 0, size: 2, resume: a.welcome.resume })
      assert.isAbove(epoch, b.welcome.epoch)
      assert.deepStrictEqual(after, [JSON.stringify({ _tag: "Rank", rank: 0, size: 2, epoch, member: "m1" })])
      // For longer than the grace.
      yield* passes("1 minute")
      assert.deepStrictEqual(b.client.lines(), [])
      assert.deepStrictEqual(yield* ranks(b.client), ["m1 boss unknown", "m2 - unknown"])
      assert.deepStrictEqual(yield* say(back.client, '{"_tag":"Exec","to":"1","command":"x"}'), [])
      assert.match(b.client.lines().join(), /^\{"_tag":"Exec","from":0,"command":"x"/)
    }).pipe(served)
  )

  it.effect("is free after the grace, and then the resume token is not valid any more", () =>
    Effect.gen(function* () {
      const logged: Array<string> = []
      yield* Effect.gen(function* () {
        const a = yield* program()
        const b = yield* program()
        yield* say(b.client, '{"_tag":"Watch"}')
        a.client.reset()
        yield* passes("4999 millis")
        assert.deepStrictEqual(b.client.lines(), [])
        yield* passes("1 millis")
        const [left, promoted] = b.client.lines()
        assert.strictEqual(left, '{"_tag":"Left","rank":0,"member":"m1","reason":"reset"}')
        assert.match(promoted!, /"Rank","rank":0,"size":1/)
        const late = yield* program({ resume: a.welcome.resume })
        assert.deepInclude(late.welcome, { member: "m3", rank: 1 })
        assert.notStrictEqual(late.welcome.resume, a.welcome.resume)
        const guess = yield* program({ resume: "x" })
        assert.deepInclude(guess.welcome, { member: "m4", rank: 2 })
      }).pipe(server({ grace: GRACE }, logged))
      assert.deepStrictEqual(
        logged.filter((line) => line.includes("member=m1 ") && !line.startsWith("joined")),
        [
          "leader changed member=m1 group=default epoch=1 since=1970-01-01T00:00:00.000Z",
          "lost member=m1 group=default address=unknown reason=reset",
          "left member=m1 group=default address=unknown reason=reset"
        ]
      )
    })
  )

  it.effect("is reserved if the connection closed or timed out, but not if the member quit or broke the rules", () =>
    Effect.gen(function* () {
      const z = yield* program()
      const held = Effect.fnUntraced(function* (lose: (client: MemorySocket) => Effect.Effect<unknown>) {
        const a = yield* program({ heartbeat: 400 })
        yield* lose(a.client)
        const listed = (yield* ranks(z.client)).filter((line) => line.startsWith(a.welcome.member))
        yield* passes(GRACE)
        assert.strictEqual((yield* ranks(z.client)).length, 1)
        return listed.some((line) => line.endsWith("absent"))
      })
      assert.isTrue(
        yield* held((client) =>
          Effect.andThen(
            Effect.sync(() => client.close()),
            settled
          )
        )
      )
      assert.isTrue(yield* held(() => passes("1200 millis")))
      assert.isFalse(yield* held((client) => say(client, '{"_tag":"Quit"}')))
      assert.isFalse(yield* held((client) => say(client, "x".repeat(70_000))))
      const text = yield* (yield* Network).connect
      text.reset()
      yield* settled
      assert.strictEqual((yield* ranks(z.client)).length, 1)
    }).pipe(served)
  )

  it.effect("gets no commands while the member is absent: open ones are lost, new ones undelivered or busy", () =>
    Effect.gen(function* () {
      const boss = yield* (yield* Network).connect
      const a = yield* program()
      const c = yield* program()
      yield* say(boss, "EXEC#1 1 x", "EXEC#2 2 y")
      assert.include(a.client.lines().join(), '"command":"x"')
      assert.include(c.client.lines().join(), '"command":"y"')
      boss.lines()
      yield* say(a.client, '{"_tag":"Exec","id":"mine","to":"2","command":"z"}')
      a.client.reset()
      yield* settled
      assert.deepStrictEqual(boss.lines(), ["RESULT#1 1 lost"])
      assert.deepStrictEqual(yield* say(boss, "EXEC#3 1 x", "EXEC 1 x", "EXEC * x", "EXEC#4 * x"), [
        "RESULT#3 1 undelivered",
        "ERROR 0 busy: not delivered to 1 of 1: being closed, or absent",
        "ERROR 0 busy: not delivered to 1 of 2: being closed, or absent",
        "RESULT#4 1 undelivered"
      ])
      const back = yield* program({ resume: a.welcome.resume })
      assert.strictEqual(back.welcome.rank, 1)
      // Its own earlier commands have ended for it, and their ids are free.
      assert.deepStrictEqual(yield* say(back.client, '{"_tag":"Cancel","id":"mine"}'), [
        '{"_tag":"Error","reason":"no such command","rank":1,"detail":"mine"}'
      ])
      assert.deepStrictEqual(yield* say(boss, "EXEC 1 again"), [])
      assert.include(back.client.lines().join(), '"again"')
    }).pipe(served)
  )

  it.effect("moves to a second connection that shows the resume token; the first gets BYE kicked", () =>
    Effect.gen(function* () {
      const a = yield* program({ name: "boss" })
      const b = yield* program()
      yield* say(b.client, '{"_tag":"Watch"}')
      yield* say(a.client, '{"_tag":"Watch"}')
      const second = yield* takingOver(a.welcome.resume, 100)
      assert.deepInclude(second.welcome, { member: "m1", rank: 0 })
      assert.deepStrictEqual(a.client.lines().at(-1), '{"_tag":"Bye","reason":"kicked"}')
      assert.isTrue(a.client.ended)
      // The second connection gave up the seat that it got first. No other member moved.
      assert.deepStrictEqual(
        b.client.lines().map((line) => JSON.parse(line)),
        [
          { _tag: "Joined", rank: 2, member: "m3" },
          { _tag: "Left", rank: 2, member: "m3", reason: "joined another group" }
        ]
      )
      assert.deepStrictEqual(yield* ranks(b.client), ["m1 boss unknown", "m2 - unknown"])
      // The same again on the same connection changes nothing.
      assert.deepInclude(yield* hello(second.client, { resume: a.welcome.resume }), { member: "m1", rank: 0 })
      assert.isFalse(second.client.ended)
      // The new connection does not watch, and gets no answers of the old one.
      yield* program()
      assert.deepStrictEqual(second.client.lines(), [])
    }).pipe(served)
  )

  it.effect("makes clients that share a resume token wait longer each time, while the other is connected", () =>
    Effect.gen(function* () {
      const first = yield* program()
      const { resume } = first.welcome
      let holder = first.client
      for (const wait of [100, 200, 400, 800, 1600, 3200, 5000, 5000]) {
        const { client } = yield* takingOver(resume, wait)
        assert.include(holder.lines().at(-1), "kicked")
        holder = client
      }
      // A return to a lost seat never waits.
      holder.reset()
      yield* settled
      const back = yield* program({ resume })
      assert.strictEqual(back.welcome.member, "m1")
      // Ten seconds without another takeover, and the first delay is the shortest again.
      yield* passes("9 seconds")
      const again = yield* takingOver(resume, 5000)
      yield* passes("10001 millis")
      yield* takingOver(resume, 100)
      assert.isTrue(again.client.ended)
    }).pipe(served)
  )

  it.effect("is given at once to a client that waits, when the other leaves or loses its connection", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const asking = Effect.fnUntraced(function* (resume: string | undefined) {
        const client = yield* network.connect
        yield* say(client, JSON.stringify({ _tag: "Hello", protocol: 1, resume }))
        return client
      })
      const a = yield* program()
      const waits = yield* asking(a.welcome.resume)
      a.client.reset()
      yield* settled
      assert.include(waits.lines().join(), '"member":"m1"')
      const late = yield* asking(a.welcome.resume)
      yield* say(waits, '{"_tag":"Quit"}')
      // The seat is gone: the client is a newcomer.
      const [welcome] = late.lines().filter((line) => line.includes("Welcome"))
      assert.notInclude(welcome, '"member":"m1"')
      assert.include(welcome, '"Welcome"')
    }).pipe(served)
  )

  it.effect("belongs to one client, however many show the resume token at the same moment", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const a = yield* program()
      const clients: Array<MemorySocket> = []
      for (let i = 0; i < 5; i++) clients.push(yield* network.connect)
      for (const client of clients) {
        client.send(`${JSON.stringify({ _tag: "Hello", protocol: 1, resume: a.welcome.resume })}\n`)
      }
      // Each that takes over makes the others wait twice as long: 0.1, 0.2, 0.4, 0.8 and 1.6 seconds.
      yield* passes("4 seconds")
      const [stays, ...others] = clients.filter(({ ended }) => !ended)
      assert.deepStrictEqual(others, [])
      assert.deepStrictEqual(yield* ranks(stays!), ["m1 - unknown"])
    }).pipe(served)
  )

  it.effect("follows the member to another group", () =>
    Effect.gen(function* () {
      const a = yield* program()
      const b = yield* program({ group: "jobs" })
      yield* say(a.client, '{"_tag":"Join","group":"jobs"}')
      a.client.reset()
      yield* settled
      assert.deepStrictEqual(yield* ranks(b.client), ["m2 - unknown", "m1 - absent"])
      const back = yield* program({ resume: a.welcome.resume })
      assert.deepInclude(back.welcome, { group: "jobs", member: "m1", rank: 1 })
    }).pipe(served)
  )

  it.effect("does not keep the server from stopping", () =>
    Effect.gen(function* () {
      const a = yield* program()
      a.client.reset()
      yield* settled
      const stop = yield* Effect.forkChild((yield* Network).stop)
      yield* settled
      assert.isDefined(stop.pollUnsafe())
      yield* Fiber.join(stop)
    }).pipe(served)
  )

  it.effect("is not reserved without --grace, and there is no resume token", () =>
    Effect.gen(function* () {
      const a = yield* program()
      const b = yield* program({ resume: "x" })
      assert.isUndefined(a.welcome.resume)
      assert.deepInclude(b.welcome, { member: "m2", rank: 1 })
      a.client.reset()
      yield* settled
      assert.match(b.client.lines().join(), /"Rank","rank":0/)
    }).pipe(server())
  )
})

describe("a full group", () => {
  it.effect("admits a member with a reserved seat, and no other client", () =>
    Effect.gen(function* () {
      const { connect } = yield* Network
      const a = yield* program()
      const b = yield* program()
      b.client.reset()
      yield* settled
      // The server waits for their resume tokens before it refuses them.
      const [back, other] = [yield* connect, yield* connect]
      assert.deepStrictEqual([back.lines(), other.lines()], [[], []])
      const { member, rank } = yield* hello(back, { resume: b.welcome.resume })
      assert.deepStrictEqual([member, rank], ["m2", 1])
      yield* passes("2 seconds")
      assert.deepStrictEqual(other.lines(), ["ERROR - server full"])
      assert.isTrue(other.ended)
      // The resume token also works while its member is connected.
      const again = yield* connect
      assert.deepInclude((yield* takingOver(b.welcome.resume, 100, again)).welcome, { member: "m2", rank: 1 })
      assert.include(back.lines().join(), "kicked")
      assert.deepStrictEqual(yield* ranks(a.client), ["m1 - unknown", "m2 - unknown"])
    }).pipe(server({ grace: GRACE, maxClients: 2 }))
  )
})

describe("a certificate's name", () => {
  it.effect("does not keep its client from resuming the seat with this name", () =>
    Effect.gen(function* () {
      const { connectFrom } = yield* Network
      const boss = yield* connectFrom("10.0.0.1:1", "boss")
      const { resume } = yield* hello(boss)
      boss.reset()
      yield* settled
      const [back, other] = [yield* connectFrom("10.0.0.1:2", "boss"), yield* connectFrom("10.0.0.1:3", "boss")]
      assert.deepInclude(yield* hello(back, { resume }), { member: "m1", rank: 0 })
      yield* passes("2 seconds")
      assert.deepStrictEqual(other.lines(), ["ERROR - name taken"])
      const second = yield* connectFrom("10.0.0.1:4", "boss")
      assert.deepInclude((yield* takingOver(resume, 100, second)).welcome, { member: "m1", rank: 0 })
      assert.include(back.lines().join(), "kicked")
    }).pipe(served)
  )
})

describe("reserved seats", () => {
  it.effect("are limited like connections, in total and per subnet", () =>
    Effect.gen(function* () {
      const { connectFrom } = yield* Network
      const watcher = yield* connectFrom("10.0.0.9:1")
      yield* hello(watcher)
      for (const from of ["10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]) {
        const client = yield* connectFrom(`${from}:1`)
        yield* hello(client)
        client.reset()
        yield* settled
      }
      // Two from the first subnet, and four in total.
      assert.deepStrictEqual(
        (yield* ranks(watcher)).map((line) => line.split(" ")[0]),
        ["m1", "m2", "m3", "m5", "m6"]
      )
      yield* passes(GRACE)
      assert.deepStrictEqual(yield* ranks(watcher), ["m1 - 10.0.0.9:1"])
    }).pipe(server({ grace: GRACE, maxConnections: 4, maxConnectionsPerAddress: 2 }))
  )

  it.effect("do not refill the rate of a client", () =>
    Effect.gen(function* () {
      let { client, welcome } = yield* program()
      const other = yield* program()
      let delivered = 0
      for (let i = 0; i < 4; i++) {
        yield* say(client, ...Array.from({ length: 6 }, () => '{"_tag":"Exec","to":"1","command":"x"}'))
        delivered += other.client.lines().filter((line) => line.includes('"Exec"')).length
        client.reset()
        yield* settled
        ;({ client, welcome } = yield* program({ resume: welcome.resume }))
      }
      assert.strictEqual(delivered, 3)
    }).pipe(server({ grace: GRACE, rate: 3 }))
  )

  it.effect("are free if the token of their member is revoked", () => {
    const granted = { issue: true, execute: true }
    let revoke: () => void = () => {}
    const access = {
      authenticate: (token: string) => Effect.succeed(token === "one" ? granted : { ...granted }),
      observe: (changed: (holds: (grant: object) => boolean) => void) =>
        Effect.sync(() => {
          revoke = () => changed((grant) => grant !== granted)
        })
    }
    return Effect.gen(function* () {
      const one = yield* program({ token: "one" })
      const two = yield* program({ token: "two" })
      one.client.reset()
      yield* settled
      revoke()
      yield* settled
      assert.deepStrictEqual(yield* ranks(two.client), ["m2 - unknown"])
    }).pipe(server({ grace: GRACE }, [], access))
  })
})

describe("a resume token", () => {
  it.effect("is not valid for a client whose token is for another name", () => {
    const named = (name: string) => ({ name, issue: true, execute: true })
    const access = {
      authenticate: (token: string) => Effect.succeed(named(token.split("-")[0]!)),
      observe: () => Effect.void
    }
    return Effect.gen(function* () {
      const worker = yield* program({ token: "worker-1" })
      worker.client.reset()
      yield* settled
      const thief = yield* program({ token: "thief-1", resume: worker.welcome.resume })
      assert.deepStrictEqual([thief.welcome.member, thief.welcome.rank], ["m2", 1])
      // It is valid for another token with the same name: operators replace tokens.
      const back = yield* program({ token: "worker-2", resume: worker.welcome.resume })
      assert.deepStrictEqual([back.welcome.member, back.welcome.rank], ["m1", 0])
    }).pipe(server({ grace: GRACE }, [], access))
  })
})
