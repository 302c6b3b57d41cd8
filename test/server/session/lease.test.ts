/** Leases on the server: when the place of a lost leader is free, and who may act on it. Time is `TestClock`'s. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect } from "effect"
import type { AccessPolicy, Grant } from "../../../src/server/admission/Access.ts"
import type { CloseCause, OtherProtocolCause, RefusalCause } from "../../../src/server/events/CloseCause.ts"
import type { SettingsValues } from "../../../src/server/Settings.ts"
import type { MemorySocket } from "../../support/MemorySocket.ts"
import { Network, passes, say, server, settled } from "../../support/memoryServer.ts"

const HEARTBEAT = 2000
/** How long the server reserves the place of a leader that it does not hear any more. */
const LEASE = 2.5 * HEARTBEAT

const settle = Duration.zero

interface Message {
  readonly _tag: string
  readonly [field: string]: unknown
}

const json = (lines: ReadonlyArray<string>): ReadonlyArray<Message> =>
  lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line))

const hello = (fields: object = {}) =>
  JSON.stringify({ _tag: "Hello", protocol: 1, heartbeat: HEARTBEAT, lease: true, ...fields })

/** Sends `Hello`, and returns the first answer in JSON. */
const greet = (socket: MemorySocket, fields: object = {}) =>
  Effect.map(say(socket, hello(fields)), (lines) => {
    const [welcome] = json(lines)
    assert(welcome !== undefined, "no answer")
    return welcome
  })

/** A client that has said `Hello`, by default with a lease. */
const candidate = Effect.fnUntraced(function* (fields: object = {}) {
  const socket = yield* (yield* Network).connect
  const welcome = yield* greet(socket, fields)
  assert.strictEqual(welcome._tag, "Welcome", JSON.stringify(welcome))
  return { socket, resume: welcome.resume as string | undefined, welcome }
})

/** The ranks that the client has received since the last call, as `0`, or `0 after 5000` with a lead-in. */
const ranks = (socket: MemorySocket) =>
  json(socket.lines())
    .filter(({ _tag }) => _tag === "Rank")
    .map(({ leadIn, rank }) => (leadIn === undefined ? `${rank}` : `${rank} after ${leadIn}`))

/** So many milliseconds pass; these clients say something every half second, and last of all. */
const alive = Effect.fnUntraced(function* (millis: number, ...clients: ReadonlyArray<MemorySocket>) {
  for (let left = millis; left > 0; left -= 500) {
    yield* passes(Math.min(500, left))
    for (const socket of clients) socket.send('{"_tag":"Pong"}\n')
    yield* settled
  }
})

const granted: Grant = { issue: true, execute: true }
let revoke = () => {}

/** Every token has a grant of its own; `revoke` takes back the one of `lead`. */
const access: AccessPolicy = {
  authenticate: (token) => Effect.succeed(token === "lead" ? granted : { ...granted }),
  observe: (changed) =>
    Effect.sync(() => {
      revoke = () => changed((grant) => grant !== granted)
    })
}

interface Pair {
  readonly leader: MemorySocket
  readonly next: MemorySocket
  readonly resume: string | undefined
}

interface Departure {
  readonly settings?: Partial<SettingsValues>
  /** Ends the leader's connection. The leader says nothing after time has passed. */
  readonly leave: (pair: Pair) => Effect.Effect<unknown, never, Network>
  /** When the next member is promoted: at once, when the lease has ended, or never, because another client has the rank. */
  readonly promotes: "at once" | "later" | "never"
  /** Whether the leader can take its rank back until then. */
  readonly resumes: boolean
}

const lost = { promotes: "later", resumes: true } as const

const now = (act: (pair: Pair) => void): Departure["leave"] =>
  Effect.fnUntraced(function* (pair) {
    act(pair)
    yield* settled
  })

/** The leader stops reading, and the next member sends it the output of a command, in so many KiB. */
const unread = (kibibytes: number, millis: number): Departure["leave"] =>
  Effect.fnUntraced(function* ({ leader, next }) {
    yield* say(leader, '{"_tag":"Exec","id":"x","to":"1","command":"x"}')
    leader.reading = false
    const output = JSON.stringify({ _tag: "Output", id: "1", text: "x".repeat(976) })
    // One by one: the last one may find the leader closed.
    for (let i = 0; i < kibibytes; i++) yield* say(next, output)
    yield* alive(millis, next)
    leader.resume()
    yield* settled
  })

/** Every way in which a leader can leave. The other causes end clients that never had a lease. */
const departures: {
  readonly [cause in Exclude<CloseCause, RefusalCause | OtherProtocolCause | "unauthenticated">]: Departure
} = {
  quit: { leave: ({ leader }) => say(leader, '{"_tag":"Quit"}'), promotes: "at once", resumes: false },
  closed: { ...lost, leave: now(({ leader }) => leader.close()) },
  reset: { ...lost, leave: now(({ leader }) => leader.reset()) },
  "internal error": { ...lost, leave: now(({ leader }) => leader.fail(new Error("a defect of the socket"))) },
  "line too long": { ...lost, settings: { maxLine: 4096 }, leave: ({ leader }) => say(leader, "x".repeat(5000)) },
  heartbeat: { leave: ({ next }) => alive(LEASE - 1, next), promotes: "later", resumes: false },
  "pending bytes": { ...lost, settings: { maxPending: 65_536 }, leave: unread(100, 600) },
  "write deadline": { ...lost, settings: { stallTimeout: Duration.seconds(1) }, leave: unread(32, 1500) },
  "server total": { ...lost, settings: { maxTotalPending: 65_536 }, leave: unread(100, 100) },
  "token revoked": { leave: now(() => revoke()), promotes: "later", resumes: false },
  "resumed elsewhere": {
    leave: Effect.fnUntraced(function* ({ resume }) {
      const other = yield* (yield* Network).connect
      yield* say(other, hello({ resume, token: "lead" }))
      yield* passes(100)
      assert.deepInclude(json(other.lines())[0], { _tag: "Welcome", member: "m1", rank: 0, leadIn: LEASE - 100 })
    }),
    promotes: "never",
    resumes: false
  },
  "shutting down": {
    leave: () => Effect.flatMap(Network, ({ stop }) => Effect.andThen(Effect.forkChild(stop), settled)),
    promotes: "never",
    resumes: false
  }
}

/** A leader and the next member, both heard now; and the causes for which clients were disconnected. */
const pair = Effect.gen(function* () {
  const causes: Array<CloseCause> = []
  yield* (yield* Network).events.observe({ closed: (_, cause) => causes.push(cause) })
  const leader = yield* candidate({ token: "lead" })
  const next = yield* candidate({ token: "next" })
  yield* alive(3000, leader.socket, next.socket)
  next.socket.lines()
  leader.socket.lines()
  return { leader: leader.socket, next: next.socket, resume: leader.resume, causes }
})

describe("a leader with a lease that leaves", () => {
  it.effect.each(Object.entries(departures))("keeps its place until the lease has ended: %s", ([cause, departure]) =>
    Effect.gen(function* () {
      const { causes, ...both } = yield* pair
      const start = yield* Clock.currentTimeMillis
      yield* departure.leave(both)
      if (departure.promotes === "at once") assert.deepStrictEqual(ranks(both.next), ["0"])
      const left = start + LEASE - (yield* Clock.currentTimeMillis)
      yield* alive(left - 1, both.next)
      assert.deepStrictEqual(ranks(both.next), [])
      yield* passes(1)
      assert.deepStrictEqual(ranks(both.next), departure.promotes === "later" ? ["0"] : [])
      yield* passes("3 seconds")
      assert.strictEqual(causes[0], cause as CloseCause)
    }).pipe(Effect.scoped, server({ settle, ...departure.settings }, [], access))
  )

  it.effect.each(Object.entries(departures).filter(([, { promotes }]) => promotes === "later"))(
    "comes back to its rank, unless its token was taken back: %s",
    ([, departure]) =>
      Effect.gen(function* () {
        const both = yield* pair
        const start = yield* Clock.currentTimeMillis
        yield* departure.leave(both)
        const left = start + LEASE - (yield* Clock.currentTimeMillis)
        if (left > 1) yield* alive(left - 1, both.next)
        else yield* passes(1)
        const back = yield* candidate({ resume: both.resume, token: "other" })
        assert.deepInclude(back.welcome, departure.resumes ? { member: "m1", rank: 0, leadIn: 1 } : { member: "m3" })
        yield* alive(6000, back.socket, both.next)
        assert.deepStrictEqual(ranks(both.next), departure.resumes ? [] : ["0"])
      }).pipe(Effect.scoped, server({ settle, ...departure.settings }, [], access))
  )
})

/** Two clients with leases, the first one at rank 0, on a server that has settled. */
const two = Effect.gen(function* () {
  const a = yield* candidate()
  const b = yield* candidate()
  yield* settled
  b.socket.lines()
  return [a, b] as const
})

const served = server({ settle })

describe("a lost leader's place", () => {
  it.effect("is free when its lease has ended, to the millisecond", () =>
    Effect.gen(function* () {
      const [a, b] = yield* two
      yield* alive(2600, b.socket)
      a.socket.send("{")
      yield* settled
      yield* passes(33)
      a.socket.reset()
      yield* alive(LEASE - 34, b.socket)
      assert.deepStrictEqual(ranks(b.socket), [])
      yield* passes(1)
      assert.deepStrictEqual(ranks(b.socket), ["0"])
    }).pipe(served)
  )

  it.effect("is free as soon when the leader is silent, whatever the time of the sweeps", () =>
    Effect.gen(function* () {
      const [a, b] = yield* two
      yield* alive(2600, b.socket)
      yield* passes(117)
      a.socket.send("{")
      yield* settled
      yield* alive(LEASE - 1, b.socket)
      assert.deepStrictEqual(ranks(b.socket), [])
      yield* passes(1)
      assert.deepStrictEqual(ranks(b.socket), ["0"])
    }).pipe(served)
  )

  it.effect("is not free sooner because something in the server interrupts the session", () =>
    Effect.gen(function* () {
      const [a, b] = yield* two
      a.socket.interrupt()
      yield* alive(LEASE - 1, b.socket)
      assert.deepStrictEqual(ranks(b.socket), [])
      yield* passes(1)
      assert.deepStrictEqual(ranks(b.socket), ["0"])
    }).pipe(served)
  )

  it.effect("is free as soon when the leader does not read its answers", () =>
    Effect.gen(function* () {
      const [a, b] = yield* two
      a.socket.reading = false
      a.socket.send(`{"_tag":"Ping","text":"${"x".repeat(900)}"}\n`.repeat(1200))
      yield* settled
      // What waits here is still to be read when the lease has ended.
      for (let i = 0; i < 10; i++) {
        yield* alive(500, b.socket)
        a.socket.send('{"_tag":"Ping"}\n')
      }
      assert.deepStrictEqual(ranks(b.socket), ["0"])
    }).pipe(served)
  )

  it.effect("is free to the millisecond after several that were lost one after the other", () =>
    Effect.gen(function* () {
      const [a, b] = yield* two
      const c = yield* candidate()
      const d = yield* candidate()
      // None of the first three says anything after this.
      for (const { socket } of [a, b, c]) {
        yield* passes(117)
        socket.send("{")
        yield* settled
      }
      yield* alive(LEASE - 1, d.socket)
      assert.notInclude(ranks(d.socket), "0")
      yield* passes(1)
      assert.deepStrictEqual(ranks(d.socket), ["0"])
    }).pipe(served)
  )

  it.effect("is free as soon when the leader was silent before it became the leader", () =>
    Effect.gen(function* () {
      const [a, b] = yield* two
      const c = yield* candidate()
      yield* passes(117)
      b.socket.send("{")
      yield* settled
      yield* alive(LEASE - 20, a.socket, c.socket)
      yield* say(a.socket, '{"_tag":"Quit"}')
      assert.deepStrictEqual(ranks(b.socket), ["0"])
      yield* passes(19)
      assert.notInclude(ranks(c.socket), "0")
      yield* passes(1)
      assert.deepStrictEqual(ranks(c.socket).at(-1), "0")
    }).pipe(served)
  )

  it.effect("is not free sooner because the leader ended only its side", () =>
    Effect.gen(function* () {
      const [a, b] = yield* two
      yield* say(a.socket, '{"_tag":"Exec","id":"x","to":"1","command":"x"}')
      a.socket.close()
      yield* alive(LEASE - 1, b.socket)
      assert.deepStrictEqual(ranks(b.socket), [])
      assert.isFalse(a.socket.ended)
      yield* passes(1)
      assert.deepStrictEqual(ranks(b.socket), ["0"])
      // The command is still open, and the former leader still gets its outcome.
      b.socket.send('{"_tag":"Result","id":"1","status":0}\n')
      yield* settled
      assert.deepInclude(json(a.socket.lines()).at(-1), { _tag: "Result", status: 0 })
    }).pipe(served)
  )

  it.effect("is reserved for the grace if that is longer, and then a resume needs no lead-in", () =>
    Effect.gen(function* () {
      const [a, b] = yield* two
      a.socket.reset()
      yield* alive(LEASE + 1, b.socket)
      const back = yield* candidate({ resume: a.resume })
      assert.deepInclude(back.welcome, { member: "m1", rank: 0 })
      assert.notProperty(back.welcome, "leadIn")
      back.socket.reset()
      yield* alive(7999, b.socket)
      assert.deepStrictEqual(ranks(b.socket), [])
      yield* passes(1)
      assert.deepStrictEqual(ranks(b.socket), ["0"])
    }).pipe(server({ settle, grace: Duration.seconds(8) }))
  )

  it.effect("is reserved for the lease if that is longer than the grace", () =>
    Effect.gen(function* () {
      const [a, b] = yield* two
      a.socket.reset()
      yield* alive(LEASE - 1, b.socket)
      assert.deepStrictEqual(ranks(b.socket), [])
      yield* passes(1)
      assert.deepStrictEqual(ranks(b.socket), ["0"])
    }).pipe(server({ settle, grace: Duration.seconds(1) }))
  )

  it.effect("is reserved when its token is revoked afterwards, and cannot be resumed then", () =>
    Effect.gen(function* () {
      const { leader, next, resume } = yield* pair
      leader.reset()
      yield* settled
      revoke()
      const late = yield* candidate({ token: "other", resume })
      assert.deepInclude(late.welcome, { member: "m3", rank: 2 })
      yield* alive(LEASE - 1, next, late.socket)
      assert.deepStrictEqual(ranks(next), [])
      yield* passes(1)
      assert.deepStrictEqual(ranks(next), ["0"])
    }).pipe(Effect.scoped, server({ settle, grace: Duration.seconds(30) }, [], access))
  )

  it.effect("is reserved when the leader was alone, and a newcomer gets in line", () =>
    Effect.gen(function* () {
      const a = yield* candidate()
      a.socket.reset()
      yield* passes(LEASE - 1)
      const b = yield* candidate()
      assert.deepInclude(b.welcome, { rank: 1, size: 2 })
      yield* passes(1)
      assert.deepStrictEqual(ranks(b.socket), ["0"])
    }).pipe(served)
  )

  it.effect("is reserved while the server drains, too", () =>
    Effect.gen(function* () {
      const [a, b] = yield* two
      const c = yield* candidate()
      // The server waits for this command.
      yield* say(b.socket, '{"_tag":"Exec","id":"x","to":"2","command":"x"}')
      yield* Effect.forkChild((yield* Network).stop)
      yield* settled
      a.socket.reset()
      yield* alive(LEASE - 1, b.socket, c.socket)
      assert.deepStrictEqual(ranks(b.socket), [])
      yield* passes(1)
      assert.deepStrictEqual(ranks(b.socket), ["0"])
    }).pipe(server({ settle, drain: Duration.seconds(20) }))
  )

  it.effect("is free for the next member whose token was not revoked", () =>
    Effect.gen(function* () {
      const { leader, next } = yield* pair
      const last = yield* candidate({ token: "next" })
      yield* say(leader, '{"_tag":"Yield"}')
      // The former leader is the last now, and its token the only one that is revoked.
      yield* alive(1000, leader, next, last.socket)
      revoke()
      yield* settled
      next.reset()
      yield* alive(LEASE - 1, last.socket)
      assert.notInclude(ranks(last.socket), "0")
      yield* passes(1)
      assert.deepStrictEqual(ranks(last.socket), ["0"])
    }).pipe(Effect.scoped, server({ settle }, [], access))
  )

  it.effect("is not reserved for a member that was never at rank 0", () =>
    Effect.gen(function* () {
      const [a, b] = yield* two
      const c = yield* candidate()
      b.socket.reset()
      yield* settled
      assert.deepStrictEqual(ranks(c.socket), ["1"])
      yield* say(a.socket, '{"_tag":"Quit"}')
      assert.deepStrictEqual(ranks(c.socket), ["0"])
    }).pipe(served)
  )
})

describe("the largest lease", () => {
  it.effect("counts until it has run out, although a later Hello has a smaller heartbeat or no lease", () =>
    Effect.gen(function* () {
      const [a, b] = yield* two
      for (const fields of [{ heartbeat: 100 }, { heartbeat: 100, lease: undefined }]) {
        assert.deepInclude(yield* greet(a.socket, { ...fields, resume: a.resume }), { _tag: "Welcome", heartbeat: 100 })
      }
      a.socket.reset()
      yield* alive(LEASE - 1, b.socket)
      assert.deepStrictEqual(ranks(b.socket), [])
      yield* passes(1)
      assert.deepStrictEqual(ranks(b.socket), ["0"])
    }).pipe(served)
  )

  it.effect("has run out when the client has kept the smaller one for long enough", () =>
    Effect.gen(function* () {
      const [a, b] = yield* two
      yield* greet(a.socket, { heartbeat: 400 })
      yield* alive(LEASE, a.socket, b.socket)
      yield* passes(100)
      a.socket.reset()
      yield* passes(899)
      assert.deepStrictEqual(ranks(b.socket), [])
      yield* passes(1)
      assert.deepStrictEqual(ranks(b.socket), ["0"])
    }).pipe(served)
  )

  it.effect("counts although the client that resumed has a smaller one, or none, and is lost, too", () =>
    Effect.gen(function* () {
      for (const fields of [{ heartbeat: 100 }, { heartbeat: undefined, lease: undefined }]) {
        const [a, b] = yield* two
        a.socket.reset()
        yield* alive(1000, b.socket)
        const back = yield* candidate({ ...fields, resume: a.resume })
        assert.strictEqual(back.welcome.rank, 0)
        back.socket.reset()
        yield* alive(LEASE - 1001, b.socket)
        assert.deepStrictEqual(ranks(b.socket), [])
        yield* passes(1)
        assert.deepStrictEqual(ranks(b.socket), ["0"])
        yield* say(b.socket, '{"_tag":"Quit"}')
      }
    }).pipe(served)
  )
})

describe("a client that resumes the rank of a leader", () => {
  it.effect("waits for what is left of the lease, in whole milliseconds, in Welcome and in Rank", () =>
    Effect.gen(function* () {
      const [a] = yield* two
      a.socket.reset()
      yield* passes("1234567 micros")
      const back = yield* candidate({ resume: a.resume })
      assert.strictEqual(back.welcome.leadIn, 3766)
    }).pipe(served)
  )

  it.effect("gets no lead-in without a lease, and one when it takes a lease", () =>
    Effect.gen(function* () {
      const [a] = yield* two
      a.socket.reset()
      yield* passes(1000)
      const back = yield* candidate({ resume: a.resume, lease: undefined })
      assert.notProperty(back.welcome, "leadIn")
      yield* passes(1000)
      assert.deepInclude(yield* greet(back.socket), { rank: 0, leadIn: LEASE - 2000 })
    }).pipe(served)
  )

  it.effect.each(["Quit", "Yield", "Join"])(
    "passes its lead-in on when it leaves: the former leader may still work (%s)",
    (verb) =>
      Effect.gen(function* () {
        const [a, b] = yield* two
        a.socket.reset()
        yield* alive(1000, b.socket)
        const back = yield* candidate({ resume: a.resume })
        yield* say(back.socket, JSON.stringify(verb === "Join" ? { _tag: verb, group: "other" } : { _tag: verb }))
        assert.deepStrictEqual(ranks(b.socket), [`0 after ${LEASE - 1000}`])
        // The group is closed and opened again.
        yield* say(b.socket, '{"_tag":"Quit"}')
        if (verb === "Yield") yield* say(back.socket, '{"_tag":"Quit"}')
        yield* passes(1000)
        assert.deepInclude((yield* candidate()).welcome, { rank: 0, size: 1, leadIn: LEASE - 2000 })
        // A lead-in is for its group only.
        assert.notProperty((yield* candidate({ group: "third" })).welcome, "leadIn")
      }).pipe(served)
  )

  it.effect("does so also without --grace, while the server still believes in the old connection", () =>
    Effect.gen(function* () {
      const [a, b] = yield* two
      const other = yield* (yield* Network).connect
      yield* say(other, hello({ resume: a.resume }))
      yield* passes(100)
      assert.deepInclude(json(other.lines())[0], { member: "m1", rank: 0, leadIn: LEASE - 100 })
      // Another rank, too.
      const third = yield* (yield* Network).connect
      yield* say(third, hello({ resume: b.resume }))
      yield* passes(100)
      assert.deepInclude(json(third.lines())[0], { member: "m2", rank: 1 })
    }).pipe(served)
  )
})

describe("a leader whose old connection looks alive to the server", () => {
  it.effect.each([2000, 400])("is back before its work must stop, however often that happens (%i)", (heartbeat) =>
    Effect.gen(function* () {
      const network = yield* Network
      const { resume } = yield* candidate({ heartbeat })
      for (let i = 0; i < 10; i++) {
        // The client has found out, and is back.
        yield* passes(heartbeat / 4)
        const back = yield* network.connect
        yield* say(back, hello({ heartbeat, resume }))
        yield* passes(heartbeat / 8)
        assert.deepInclude(json(back.lines())[0], { _tag: "Welcome", member: "m1", rank: 0 }, `time ${i}`)
      }
    }).pipe(server({ settle, admission: "hello" }))
  )
})

describe("a member at rank 0 that leaves of its own will", () => {
  it.effect.each([
    { _tag: "Quit" },
    { _tag: "Yield" },
    { _tag: "Join", group: "other" },
    { _tag: "Join", group: "default" }
  ])("promotes the next at once: $_tag $group", (message) =>
    Effect.gen(function* () {
      const [a, b] = yield* two
      yield* say(a.socket, JSON.stringify(message))
      assert.deepStrictEqual(ranks(b.socket), ["0"])
    }).pipe(served)
  )

  it.effect("has rank 0 again when it is alone, and its lease, too", () =>
    Effect.gen(function* () {
      const { socket } = yield* candidate()
      socket.lines()
      const [again] = json(yield* say(socket, '{"_tag":"Yield"}'))
      assert.deepInclude(again, { _tag: "Rank", rank: 0, size: 1 })
      socket.reset()
      const next = yield* candidate()
      assert.deepInclude(next.welcome, { rank: 1 })
      yield* alive(LEASE - 1, next.socket)
      assert.deepStrictEqual(ranks(next.socket), [])
      yield* passes(1)
      assert.deepStrictEqual(ranks(next.socket), ["0"])
    }).pipe(served)
  )
})

describe("a leader that sends what begins another protocol", () => {
  it.effect.each(["GET / HTTP/1.1", "Host: x", "\u0016\u0003\u0001", "\u00ff\u00fe"])("stays: %j", (line) =>
    Effect.gen(function* () {
      const [a, b] = yield* two
      a.socket.send(Buffer.from(`${line}\n`, "latin1"))
      yield* settled
      yield* alive(2 * LEASE, a.socket, b.socket)
      assert.isFalse(a.socket.ended)
      assert.deepStrictEqual(ranks(b.socket), [])
    }).pipe(served)
  )
})

describe("a leader that gets another seat by a Hello", () => {
  it.effect("has not said that its work has ended: the next leader waits for its lease", () =>
    Effect.gen(function* () {
      const [a, b] = yield* two
      const c = yield* candidate({ group: "other" })
      const d = yield* candidate({ group: "third" })
      const e = yield* candidate({ group: "third" })
      yield* alive(700, a.socket, b.socket, c.socket, d.socket, e.socket)
      e.socket.lines()
      yield* passes(300)
      assert.deepInclude(yield* greet(a.socket, { group: "other" }), { group: "other", rank: 1 })
      assert.deepStrictEqual(ranks(b.socket), [`0 after ${LEASE}`])
      // The same with the token of another seat.
      c.socket.reset()
      yield* settled
      assert.deepInclude(yield* greet(d.socket, { resume: c.resume }), { group: "other", rank: 0 })
      assert.deepStrictEqual(ranks(e.socket), [`0 after ${LEASE}`])
    }).pipe(served)
  )
})

describe("the place of a lost leader", () => {
  it.effect("takes no room, and its name is free for a newcomer with the same rights", () =>
    Effect.gen(function* () {
      const { connectFrom } = yield* Network
      const a = yield* candidate({ name: "x" })
      const b = yield* candidate({ name: "b" })
      a.socket.reset()
      yield* settled
      // The program was restarted, and has no resume token.
      const again = yield* candidate({ name: "x" })
      assert.deepInclude(again.welcome, { member: "m3", rank: 2 })
      const stranger = yield* connectFrom("10.0.0.1:1", "x")
      assert.deepInclude(yield* greet(stranger), { _tag: "Error", reason: "server full" })
      const [list] = json(yield* say(b.socket, '{"_tag":"Ranks"}')) as unknown as [{ members: ReadonlyArray<object> }]
      assert.deepStrictEqual(
        list.members.map((member) => (member as { name?: string }).name),
        [undefined, "b", "x"]
      )
      // It comes back without the name, into a group that is over its limit then.
      const back = yield* candidate({ resume: a.resume })
      assert.deepInclude(back.welcome, { member: "m1", rank: 0, size: 3 })
      yield* say(back.socket, '{"_tag":"Quit"}')
      const fourth = yield* (yield* Network).connect
      assert.deepInclude(yield* greet(fourth), { _tag: "Error", reason: "server full" })
    }).pipe(server({ settle, maxClients: 2, admission: "hello" }))
  )

  it.effect("keeps its name from clients with other rights", () =>
    Effect.gen(function* () {
      const { connectFrom } = yield* Network
      const boss = yield* connectFrom("10.0.0.1:1", "boss")
      yield* greet(boss)
      boss.reset()
      yield* settled
      const thief = yield* connectFrom("10.0.0.2:1")
      assert.deepInclude(yield* greet(thief, { name: "boss" }), { _tag: "Error", reason: "name taken" })
      // A newcomer with the name may be the leader itself, which shows its token next.
      const again = yield* connectFrom("10.0.0.1:2", "boss")
      assert.deepInclude(yield* greet(again), { _tag: "Welcome", member: "m2" })
    }).pipe(server({ settle, admission: "hello" }))
  )

  it.effect("has its name again when it is resumed by the newcomer that took it", () =>
    Effect.gen(function* () {
      const { connectFrom } = yield* Network
      const boss = yield* connectFrom("10.0.0.1:1", "boss")
      const { resume } = yield* greet(boss)
      boss.reset()
      yield* settled
      const back = yield* connectFrom("10.0.0.1:2", "boss")
      assert.deepInclude(yield* greet(back, { resume }), { member: "m1", rank: 0 })
      assert.include((yield* say(back, '{"_tag":"Ranks"}')).join(), '"name":"boss"')
    }).pipe(served)
  )

  it.effect("is not refused for want of room for reserved seats", () =>
    Effect.gen(function* () {
      const { connectFrom } = yield* Network
      for (const group of ["a", "b"]) {
        const first = yield* connectFrom("10.0.0.1:1")
        yield* greet(first, { group })
        first.reset()
        yield* settled
        const next = yield* connectFrom("10.0.0.1:2")
        assert.deepInclude(yield* greet(next, { group }), { rank: 1 })
        next.reset()
        yield* settled
      }
    }).pipe(server({ settle, maxConnections: 1, maxConnectionsPerAddress: 1, grace: Duration.seconds(30) }))
  )
})

describe("a place that is reserved only for a lease", () => {
  it.effect("takes no room from members that are absent for the grace", () =>
    Effect.gen(function* () {
      const { connectFrom } = yield* Network
      const leader = yield* connectFrom("10.0.0.1:1")
      yield* greet(leader)
      yield* say(leader, "x".repeat(5000))
      // Its connection is closed in order.
      yield* passes(3000)
      const other = yield* connectFrom("10.0.0.1:2")
      yield* greet(other, { lease: undefined })
      other.reset()
      yield* settled
      const observer = yield* connectFrom("10.0.0.1:3")
      yield* greet(observer)
      const [list] = json(yield* say(observer, '{"_tag":"Ranks"}'))
      assert.deepInclude(list, { size: 3 })
    }).pipe(
      server({ settle, maxLine: 4096, maxConnections: 1, maxConnectionsPerAddress: 1, grace: Duration.seconds(30) })
    )
  )
})

describe("a server that has just started", () => {
  it.effect("lets nobody with a lease act on rank 0 before it has settled", () =>
    Effect.gen(function* () {
      const text = yield* (yield* Network).connect
      assert.match(text.lines().join(), /^RANK 0 1 \d+ m1$/)
      yield* passes(1000)
      assert.notProperty(yield* greet(text, { lease: undefined }), "leadIn")
      assert.deepInclude(yield* greet(text), { rank: 0, leadIn: 4000 })
      const b = yield* candidate()
      assert.notProperty(b.welcome, "leadIn")
      b.socket.lines()
      yield* passes(500)
      yield* say(text, '{"_tag":"Yield"}')
      assert.deepStrictEqual(ranks(b.socket), ["0 after 3500"])
      assert.deepInclude((yield* candidate({ group: "other" })).welcome, { rank: 0, leadIn: 3500 })
      yield* alive(3500, b.socket, text)
      yield* say(b.socket, '{"_tag":"Yield"}')
      assert.deepStrictEqual(ranks(text).at(-1), "0")
    }).pipe(server())
  )

  it.effect("refuses a lease that may last for longer than that, with the reason, and keeps the client", () =>
    Effect.gen(function* () {
      const socket = yield* (yield* Network).connect
      const refused = {
        _tag: "Error",
        reason: "malformed",
        detail: "heartbeat: with a lease at most 2000 milliseconds; choose a shorter one, or raise --settle (5 seconds)"
      }
      assert.deepInclude(yield* greet(socket, { heartbeat: 2001 }), refused)
      assert.deepInclude(yield* greet(socket, { heartbeat: 2001, lease: undefined }), { heartbeat: 2001 })
      assert.deepInclude(yield* greet(socket, { heartbeat: 2000 }), { heartbeat: 2000 })
      // The lease is still there.
      assert.deepInclude(yield* greet(socket, { heartbeat: 2001, lease: undefined }), refused)
    }).pipe(server())
  )

  it.effect("with --settle 0 has no lead-in and refuses no lease", () =>
    Effect.gen(function* () {
      const { welcome } = yield* candidate({ heartbeat: 3_600_000 })
      assert.deepInclude(welcome, { rank: 0, heartbeat: 3_600_000 })
      assert.notProperty(welcome, "leadIn")
    }).pipe(served)
  )
})

describe("a list of members", () => {
  it.effect("in JSON says which of them have a lease", () =>
    Effect.gen(function* () {
      yield* candidate()
      const text = yield* (yield* Network).connect
      assert.deepStrictEqual((yield* say(text, "RANKS")).slice(1, 3), [
        "MEMBER 0 m1 - unknown",
        "MEMBER 1 m2 - unknown"
      ])
      const [list] = json(yield* say(text, '{"_tag":"Ranks"}'))
      assert.deepStrictEqual(list?.members, [
        { rank: 0, member: "m1", address: "unknown", lease: true },
        { rank: 1, member: "m2", address: "unknown" }
      ])
    }).pipe(served)
  )
})

describe("the field lease", () => {
  it.effect("needs a heartbeat, and is true or missing", () =>
    Effect.gen(function* () {
      const socket = yield* (yield* Network).connect
      const malformed = { _tag: "Error", reason: "malformed" }
      assert.deepInclude(yield* greet(socket, { heartbeat: undefined }), {
        ...malformed,
        detail: "lease: needs heartbeat"
      })
      const { detail } = yield* greet(socket, { lease: false })
      assert.match(`${detail}`, /^lease: /)
    }).pipe(served)
  )
})

describe("a server that was frozen", () => {
  it.live("does not lose a leader whose bytes came meanwhile", () =>
    Effect.gen(function* () {
      const a = yield* candidate({ heartbeat: 400 })
      const b = yield* candidate({ heartbeat: 10_000 })
      yield* Effect.sleep("880 millis")
      // The server has read this, and no sweep has seen it.
      a.socket.send("{")
      yield* settled
      for (const end = performance.now() + 1500; performance.now() < end; );
      yield* Effect.sleep("1 millis")
      a.socket.send("{")
      yield* Effect.sleep("150 millis")
      assert.deepStrictEqual(ranks(b.socket), [])
      yield* Effect.sleep("1200 millis")
      assert.deepStrictEqual(ranks(b.socket), ["0"])
    }).pipe(served)
  )
})
