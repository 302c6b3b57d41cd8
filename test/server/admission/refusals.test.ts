/** Clients that do not get the seat that they ask for; the first line for those that do; `WHOIS`. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import type { AccessPolicy, Grant } from "../../../src/server/admission/Access.ts"
import { connect, Network, passes, say, server, settled } from "../../support/memoryServer.ts"
import { transcript } from "../../support/transcript.ts"
import { client, serverLayer, type WireClient } from "../../support/wire.ts"

const everything = { issue: true, execute: true }
const grants = new Map<string, Grant>([
  ["all", everything],
  ["worker", { ...everything, name: "worker" }]
])

/** A policy whose tokens are plain words. */
const access: AccessPolicy = {
  authenticate: (token) => Effect.succeed(grants.get(token)),
  observe: () => Effect.void
}

const GRACE = { grace: Duration.seconds(5) }
const guarded = (settings = {}, logged: Array<string> = []) => server(settings, logged, access)

const refusedIn = (logged: ReadonlyArray<string>) => logged.filter((line) => line.startsWith("refused "))

describe("a client that gets no seat after AUTH", () => {
  it.effect("is disconnected if the group is full, and the log says so", () => {
    const logged: Array<string> = []
    return Effect.gen(function* () {
      yield* transcript(`
        a> connect
        a> AUTH all
        a  RANK 0 1 1 m1
        b> connect 10.0.0.2:1
        b> AUTH all
        b  ERROR - server full
        b  (closed)
      `)
      assert.strictEqual(refusedIn(logged).length, 1)
      assert.match(refusedIn(logged)[0]!, /address=10\.0\.0\.2:1 reason=\w+ full/)
    }).pipe(guarded({ maxClients: 1 }, logged))
  })

  it.effect("is disconnected if another client has the name of its token", () =>
    transcript(`
      a> connect
      a> AUTH worker
      a  RANK 0 1 1 m1
      b> connect
      b> AUTH worker
      b  ERROR - name taken
      b  (closed)
      a  (nothing)
    `).pipe(guarded())
  )

  it.effect("may still show its resume token if the group is full", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const first = yield* network.connect
      yield* say(first, "AUTH all")
      const resume = welcomed(yield* say(first, HELLO)).resume
      first.reset()
      const back = yield* network.connect
      assert.deepStrictEqual(yield* say(back, "AUTH all"), [])
      const welcome = welcomed(yield* say(back, `{"_tag":"Hello","protocol":1,"resume":"${resume}"}`))
      assert.deepInclude(welcome, { member: "m1", rank: 0, size: 1 })
    }).pipe(guarded({ ...GRACE, maxClients: 1 }))
  )

  it.effect.each([
    ["all", { maxClients: 1 }, "server full"],
    ["worker", {}, "name taken"]
  ] as const)(
    "has --auth-timeout to show its resume token, and is then disconnected: %s",
    ([token, settings, reason]) =>
      Effect.gen(function* () {
        const { connect } = yield* Network
        // While there is a valid resume token, any client may have it.
        const a = yield* connect
        yield* say(a, `AUTH ${token}`, HELLO)
        yield* transcript(
          `
          b> connect
          b> AUTH ${token}
          -- 1999 millis
          b  (nothing)
          -- 1 millis
          b  ERROR - ${reason}
          b  (closed)
          a  (nothing)
        `,
          { a }
        )
      }).pipe(guarded({ ...GRACE, ...settings }))
  )
})

const HELLO = '{"_tag":"Hello","protocol":1}'

/** The first of the lines, which must be a `Welcome`. */
const welcomed = (lines: ReadonlyArray<string>): Readonly<Record<string, unknown>> => {
  const welcome = JSON.parse(lines[0] ?? "{}")
  assert.strictEqual(welcome._tag, "Welcome", lines.join("\n"))
  return welcome
}

describe("a refused Hello", () => {
  it.effect("leaves a client with a seat where it is, with its name", () =>
    transcript(`
      a> JOIN default
      a> NAME ann
      a  RANK 0 1 1 m1
      a  NAMED 0 m1 ann
      b> JOIN default
      b> NAME bea
      b  RANK 1 2 2 m2
      b  NAMED 1 m2 bea
      c> JOIN full
      c  RANK 0 1 1 m3
      d> JOIN full
      d  RANK 1 2 2 m4
      e> JOIN other
      e> NAME eve
      e  RANK 0 1 1 m5
      e  NAMED 0 m5 eve
      a> WATCH
      a  MEMBER 0 m1 ann unknown
      a  MEMBER 1 m2 bea unknown
      a  END 2 2
      b> {"_tag":"Hello","protocol":1,"name":"ann"}
      b  {"_tag":"Error","reason":"name taken","rank":1}
      b> {"_tag":"Hello","protocol":1,"group":"full","name":"bob"}
      b  {"_tag":"Error","reason":"server full","rank":1}
      b> {"_tag":"Hello","protocol":1,"group":"other","name":"eve"}
      b  {"_tag":"Error","reason":"name taken","rank":1}
      b> RANKS
      b  {"_tag":"Roster","size":2,"epoch":2,"members":[{"rank":0,"member":"m1","address":"unknown","name":"ann"},{"rank":1,"member":"m2","address":"unknown","name":"bea"}]}
      a> EXEC 1 still here
      b  {"_tag":"Exec","from":0,"command":"still here","epoch":2}
      a c d e  (nothing)
    `).pipe(server({ admission: "hello", maxClients: 2 }))
  )

  it.effect("disconnects a client without a seat if the group is full", () =>
    transcript(`
      a> connect
      a> JOIN g
      a  RANK 0 1 1 m1
      b> connect
      b> {"_tag":"Hello","protocol":1,"group":"g"}
      b  {"_tag":"Error","reason":"server full"}
      b  (closed)
    `).pipe(server({ admission: "hello", maxClients: 1 }))
  )

  it.effect("disconnects a client without a seat if the server stops", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const [a, b, c] = [yield* network.connect, yield* network.connect, yield* network.connect]
      yield* say(a, "JOIN default")
      yield* say(b, "JOIN default")
      yield* say(a, "EXEC#1 1 x")
      yield* Effect.forkChild(network.stop)
      yield* settled
      assert.deepStrictEqual(yield* say(c, HELLO), ['{"_tag":"Error","reason":"shutting down"}'])
      assert.isTrue(c.ended)
      // A client with a seat stays.
      assert.deepStrictEqual(yield* say(a, "PING"), ["PONG"])
    }).pipe(server({ admission: "hello" }))
  )

  it.effect("lets a client without a seat choose another name", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const [a, b] = [yield* network.connect, yield* network.connect]
      yield* say(a, '{"_tag":"Hello","protocol":1,"name":"x"}')
      assert.deepStrictEqual(yield* say(b, '{"_tag":"Hello","protocol":1,"name":"x"}'), [
        '{"_tag":"Error","reason":"name taken"}'
      ])
      yield* passes("1999 millis")
      assert.deepInclude(welcomed(yield* say(b, '{"_tag":"Hello","protocol":1,"name":"y"}')), { member: "m2", rank: 1 })
      yield* passes("1 hour")
      assert.isFalse(b.ended)
    }).pipe(server({ admission: "hello" }))
  )

  it.effect("gives a client without a seat --auth-timeout to choose another name", () =>
    transcript(`
      a> connect
      a> AUTH all
      a  RANK 0 1 1 m1
      a> NAME x
      a  NAMED 0 m1 x
      b> connect
      b> {"_tag":"Hello","protocol":1,"token":"all","name":"x"}
      b  {"_tag":"Error","reason":"name taken"}
      -- 1999 millis
      b> RANKS
      b  {"_tag":"Error","reason":"not authorized","detail":"say JOIN or Hello first"}
      -- 1 millis
      b  {"_tag":"Bye","reason":"timed out"}
      b  (closed)
      a  (nothing)
    `).pipe(guarded())
  )

  it.effect("disconnects a client without a seat if another has the name of its token", () =>
    transcript(`
      a> connect
      a> AUTH worker
      a  RANK 0 1 1 m1
      b> connect
      b> {"_tag":"Hello","protocol":1,"token":"worker"}
      b  {"_tag":"Error","reason":"name taken"}
      b  (closed)
    `).pipe(guarded())
  )

  it.effect("disconnects a client without a seat if another has the name of its certificate", () =>
    transcript(`
      a> connect 10.0.0.1:1 as boss
      a> JOIN default
      a  RANK 0 1 1 m1
      b> connect 10.0.0.2:1 as boss
      b> {"_tag":"Hello","protocol":1}
      b  {"_tag":"Error","reason":"name taken"}
      b  (closed)
    `).pipe(server({ admission: "hello" }))
  )
})

describe("a connection that begins with HTTP", () => {
  it.effect("gets nothing after its RANK, not even a new one", () =>
    transcript(`
      a b c d> connect
      a> (end)
      b  RANK 0 3 5 m2
      c  RANK 1 3 5 m3
      d  RANK 2 3 5 m4
      # The sweep rests: the server has not sent d its next rank yet.
      b> (end)
      c  RANK 0 2 6 m3
      d> GET / HTTP/1.1
      d  (closed)
    `).pipe(server())
  )

  it.effect("gets nothing at all if the server asks for a token", () =>
    transcript(`
      a> connect
      a> POST / HTTP/1.1
      a> Host: localhost
      a  (closed)
    `).pipe(guarded())
  )
})

describe("the first answer to a Hello", () => {
  it.effect("is Welcome, before the new name", () =>
    transcript(`
      a  RANK 0 1 1 m1
      a> {"_tag":"Hello","protocol":1,"name":"boss"}
      a  {"_tag":"Welcome","protocol":1,"server":"rankd/0.1.0","member":"m1","group":"default","rank":0,"size":1,"epoch":1,"maxLine":65536,"heartbeat":0,"commandTimeout":60000,"maxCommandTimeout":3600000}
      a  {"_tag":"Named","rank":0,"member":"m1","name":"boss"}
    `).pipe(server())
  )

  it.effect("is Welcome, before the rank in the new group", () =>
    transcript(`
      a b> connect
      b> {"_tag":"Hello","protocol":1,"group":"jobs","name":"bea"}
      b  {"_tag":"Welcome","protocol":1,"server":"rankd/0.1.0","member":"m2","group":"jobs","rank":0,"size":1,"epoch":1,"maxLine":65536,"heartbeat":0,"commandTimeout":60000,"maxCommandTimeout":3600000}
      b  {"_tag":"Rank","rank":0,"size":1,"epoch":1,"member":"m2"}
      b> WHOIS @m2
      b  {"_tag":"Member","rank":0,"member":"m2","address":"unknown","name":"bea"}
    `).pipe(server())
  )

  it.effect("is Welcome for a client that resumes its seat from another one in the same group", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const a = yield* network.connect
      a.lines()
      const { resume } = welcomed(yield* say(a, HELLO))
      a.reset()
      const b = yield* network.connect
      assert.match(b.lines().join(), /^RANK 1 2 \d+ m2$/)
      const [first, ...others] = yield* say(b, `{"_tag":"Hello","protocol":1,"resume":"${resume}"}`)
      const { epoch, ...welcome } = JSON.parse(first!)
      assert.deepInclude(welcome, { _tag: "Welcome", member: "m1", rank: 0 })
      assert.deepStrictEqual(others, [`{"_tag":"Rank","rank":0,"size":1,"epoch":${epoch},"member":"m1"}`])
    }).pipe(server(GRACE))
  )

  it.effect("is Welcome for a client without a seat, and for one that resumes", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const a = yield* network.connect
      const { resume, ...welcome } = welcomed(yield* say(a, '{"_tag":"Hello","protocol":1,"name":"boss"}'))
      assert.deepInclude(welcome, { member: "m1", rank: 0 })
      a.reset()
      const b = yield* network.connect
      const back = welcomed(yield* say(b, `{"_tag":"Hello","protocol":1,"resume":"${resume}"}`))
      assert.deepInclude(back, { member: "m1", rank: 0, resume })
    }).pipe(server({ ...GRACE, admission: "hello" }))
  )

  it.live("is Welcome, even while commands to the group never stop", () =>
    Effect.gen(function* () {
      const boss = yield* client
      boss.send('{"_tag":"Hello","protocol":1,"group":"g"}')
      yield* boss.until((line) => line.includes("Welcome"))
      const flood = yield* Effect.forkChild(
        Effect.forever(
          Effect.andThen(
            Effect.sync(() => boss.send("EXEC * x")),
            Effect.yieldNow
          )
        )
      )
      const hello = (wire: WireClient) => {
        wire.send('{"_tag":"Hello","protocol":1,"group":"g","name":"n"}')
        return wire.next
      }
      for (let i = 0; i < 100; i++) {
        const first = yield* Effect.scoped(Effect.flatMap(client, hello))
        // The last client may still have the name: the server may not have noticed its departure.
        assert.match(first ?? "", /"_tag":"Welcome"|"reason":"name taken"/)
      }
      flood.interruptUnsafe()
    }).pipe(Effect.scoped, Effect.provide(serverLayer({ ...GRACE, admission: "hello" })))
  )
})

describe("WHOIS", () => {
  it.effect("shows a member of the group, by its name or its id", () =>
    transcript(`
      a b c> connect
      b> NAME bea
      b  NAMED 1 m2 bea
      a> WHOIS @bea
      a> whois @m3
      a> WHOIS @m1
      a  MEMBER 1 m2 bea unknown
      a  MEMBER 2 m3 - unknown
      a  MEMBER 0 m1 - unknown
      # A member above is shown like one below.
      c> WHOIS @m1
      c  MEMBER 0 m1 - unknown
    `).pipe(server())
  )

  it.effect("knows no member of another group, and no member that has left", () =>
    transcript(`
      a b c> connect
      b> JOIN other
      b  RANK 0 1 1 m2
      c  RANK 1 2 4 m3
      c> QUIT
      c  BYE quit
      a> WHOIS @m2
      a> WHOIS @m3
      a> WHOIS @nobody
      a  ERROR 0 no such member
      a  ERROR 0 no such member
      a  ERROR 0 no such member
    `).pipe(server())
  )

  it.effect("shows an absent member", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      yield* say(b, '{"_tag":"Hello","protocol":1,"name":"bea"}')
      b.reset()
      yield* transcript("a> WHOIS @bea\na> WHOIS @m2\na  MEMBER 1 m2 bea absent\na  MEMBER 1 m2 bea absent", { a })
    }).pipe(server(GRACE))
  )

  it.effect("answers in JSON, too", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      yield* say(a, HELLO)
      yield* say(b, "NAME bea")
      const whois = (who: string) =>
        Effect.map(say(a, JSON.stringify({ _tag: "Whois", who })), (lines) => lines.map((line) => JSON.parse(line)))
      assert.deepStrictEqual(yield* whois("@bea"), [
        { _tag: "Member", rank: 1, member: "m2", name: "bea", address: "unknown" }
      ])
      assert.deepStrictEqual(yield* whois("@m1"), [{ _tag: "Member", rank: 0, member: "m1", address: "unknown" }])
      assert.deepStrictEqual(yield* whois("@m9"), [{ _tag: "Error", reason: "no such member", rank: 0 }])
    }).pipe(server())
  )

  it.effect("needs a seat", () =>
    transcript(`
      a> connect
      a> WHOIS @m1
      a  ERROR - not authorized: say JOIN or Hello first
      a> JOIN default
      a> WHOIS @m1
      a  RANK 0 1 1 m1
      a  MEMBER 0 m1 - unknown
    `).pipe(server({ admission: "hello" }))
  )

  it.effect("needs a token first", () =>
    transcript(`
      a> connect
      a> WHOIS @m1
      a  ERROR - not authorized: say AUTH <token> first
    `).pipe(guarded())
  )
})
