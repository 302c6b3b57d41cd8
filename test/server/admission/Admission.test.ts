/** Tokens and their rights, unauthenticated clients, and the limits on connections, commands and memory. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { TestClock } from "effect/testing"
import { subnetOf } from "../../../src/net/Subnet.ts"
import type { AccessPolicy, Grant } from "../../../src/server/admission/Access.ts"
import { connect, Network, passes, say, server, settled } from "../../support/memoryServer.ts"
import { transcript } from "../../support/transcript.ts"

const grants = new Map<string, Grant>([
  ["all", { issue: true, execute: true }],
  ["all-2", { issue: true, execute: true }],
  ["named", { name: "worker", issue: true, execute: true }],
  ["jobs", { groups: ["jobs", "more"], issue: true, execute: true }],
  ["issues", { issue: true, execute: false }],
  ["executes", { issue: false, execute: true }],
  ["watches", { issue: false, execute: false }]
])

let revoke: (token: string) => void = () => {}

/** A policy whose tokens are plain words. */
const access: AccessPolicy = {
  authenticate: (token) => Effect.succeed(grants.get(token)),
  observe: (changed) =>
    Effect.sync(() => {
      revoke = (token) => changed((grant) => grant !== grants.get(token))
    })
}

const guarded = (settings = {}, logged: Array<string> = []) => server(settings, logged, access)

/** A client that has shown the token; its answers are dropped. */
const entered = Effect.fnUntraced(function* (token: string) {
  const { connect } = yield* Network
  const client = yield* connect
  yield* say(client, `AUTH ${token}`)
  return client
})

const denied = "ERROR - not authorized: say AUTH <token> first"

describe("an unauthenticated client", () => {
  it.effect("has no rank, and may send only its token", () =>
    transcript(`
      member> connect
      member> AUTH all
      member  RANK 0 1 1 m1
      member> WATCH
      member  MEMBER 0 m1 - unknown
      member  END 1 1
      a> connect
      ${["EXEC * x", "EXPLAIN 1", "RANKS", "WATCH", "NAME n", "JOIN g", "YIELD", "PING", "HELP", "nonsense", "AUTH"]
        .map((line) => `a> ${line}\na  ${denied}`)
        .join("\n")}
      a> EXEC#i 1 x
      a  ${denied.replace("ERROR", "ERROR#i")}
      a> {"_tag":"Hello","protocol":1}
      a  {"_tag":"Error","reason":"not authorized","detail":"say AUTH <token> first"}
      member> EXPLAIN *
      member  ERROR 0 nobody below
      a> QUIT
      a  {"_tag":"Bye","reason":"quit"}
      a  (closed)
      member  (nothing)
    `).pipe(guarded())
  )

  it.effect("gets its rank for its token, with AUTH or Hello", () =>
    Effect.gen(function* () {
      const { connect } = yield* Network
      const [a, b] = [yield* connect, yield* connect]
      assert.match((yield* say(b, "AUTH all")).join(), /^RANK 0 1 [0-9]+ m1$/)
      const answers = yield* say(a, '{"_tag":"Hello","protocol":1,"name":"x","token":"all-2"}')
      assert.deepInclude(JSON.parse(answers[0]!), { _tag: "Welcome", rank: 1, member: "m2" })
      assert.deepStrictEqual(yield* say(b, "AUTH all"), ["ERROR 0 not authorized: you have shown one already"])
    }).pipe(guarded())
  )

  it.effect("may send lines of 4 KiB; a member, longer ones", () =>
    Effect.gen(function* () {
      const { connect } = yield* Network
      const member = yield* entered("all")
      const long = "x".repeat(4096)
      assert.deepStrictEqual(yield* say(member, `PING ${long}`), [`PONG ${long}`])
      const client = yield* connect
      assert.deepStrictEqual(yield* say(client, `AUTH ${long}`), ["ERROR - line too long"])
      assert.isTrue(client.ended)
    }).pipe(guarded())
  )

  it.effect("has two seconds to show a token, however much it sends", () =>
    Effect.gen(function* () {
      const { connect } = yield* Network
      const [silent, chatty] = [yield* connect, yield* connect]
      for (let i = 0; i < 9; i++) {
        yield* say(chatty, "PING")
        yield* TestClock.adjust("200 millis")
      }
      assert.isFalse(silent.ended || chatty.ended)
      yield* passes("200 millis")
      assert.deepStrictEqual([silent.lines(), chatty.lines().at(-1)], [["BYE timed out"], "BYE timed out"])
      assert.isTrue(silent.ended && chatty.ended)
    }).pipe(guarded())
  )

  it.effect("is disconnected if it does not read the answers", () =>
    Effect.gen(function* () {
      const { connect } = yield* Network
      const client = yield* connect
      client.reading = false
      yield* say(client, ...Array.from({ length: 2000 }, () => "x"))
      yield* passes("5 seconds")
      assert.isTrue(client.destroyed)
    }).pipe(guarded())
  )

  it.effect("waits longer for each answer to a wrong token, over any number of connections", () => {
    const logged: Array<string> = []
    return Effect.gen(function* () {
      const { connectFrom } = yield* Network
      for (const wait of [100, 200, 400, 800, 1600, 3200, 4000, 4000]) {
        const client = yield* connectFrom(`10.0.0.1:${wait}`)
        assert.deepStrictEqual(yield* say(client, "AUTH wrong-secret"), [])
        yield* passes(wait - 1)
        assert.deepStrictEqual(client.lines(), [])
        yield* passes(1)
        assert.deepStrictEqual(client.lines(), ["ERROR - not authorized: wrong token"])
        assert.isTrue(client.ended)
      }
      const other = yield* connectFrom("10.0.0.2:1")
      yield* say(other, "AUTH wrong")
      yield* passes(100)
      assert.isTrue(other.ended)
      assert.strictEqual(
        logged.filter((line) => line === "authentication failed address=10.0.0.1:100 reason=wrong token").length,
        1
      )
      assert.isFalse(logged.join().includes("wrong-secret"))
    }).pipe(guarded({}, logged))
  })

  it.effect("is disconnected if it is the oldest of too many", () =>
    Effect.gen(function* () {
      const { connect } = yield* Network
      const [first, second, third] = [yield* connect, yield* connect, yield* connect]
      assert.deepStrictEqual(first.lines(), ["ERROR - busy: too many connections that have shown no token"])
      assert.isTrue(first.ended)
      assert.match((yield* say(second, "AUTH all")).join(), /^RANK 0/)
      const fourth = yield* connect
      assert.isFalse(third.ended || fourth.ended)
    }).pipe(guarded({ maxUnauthenticated: 2 }))
  )
})

describe("a token", () => {
  it.effect("may determine the name", () =>
    Effect.gen(function* () {
      const { connect } = yield* Network
      const worker = yield* entered("named")
      assert.match((yield* say(worker, "RANKS"))[0]!, /^MEMBER 0 m1 worker /)
      const notGranted = "not authorized: your token is for another name, or another group"
      assert.deepStrictEqual(yield* say(worker, "NAME boss"), [`ERROR 0 ${notGranted}`])
      assert.deepStrictEqual(yield* say(worker, "NAME worker"), ["NAMED 0 m1 worker"])
      const second = yield* connect
      assert.deepStrictEqual(yield* say(second, "AUTH named"), ["ERROR - name taken"])
      const third = yield* connect
      const answers = yield* say(third, '{"_tag":"Hello","protocol":1,"token":"named","name":"boss","group":"g"}')
      assert.deepInclude(JSON.parse(answers[0]!), { reason: "not authorized" })
      const [hello] = yield* say(third, '{"_tag":"Hello","protocol":1,"group":"g"}')
      assert.match(hello!, /"_tag":"Rank"|"_tag":"Welcome"|"_tag":"Named"/)
      assert.match((yield* say(third, "RANKS"))[0]!, /"name":"worker"/)
    }).pipe(guarded())
  )

  it.effect("may allow some groups only; the first is the default", () =>
    Effect.gen(function* () {
      const { connect } = yield* Network
      const one = yield* connect
      const answers = yield* say(one, '{"_tag":"Hello","protocol":1,"token":"jobs"}')
      assert.deepInclude(JSON.parse(answers[0]!), { _tag: "Welcome", group: "jobs" })
      assert.deepInclude(JSON.parse((yield* say(one, "JOIN default"))[0]!), { reason: "not authorized" })
      assert.deepInclude(JSON.parse((yield* say(one, "JOIN more"))[0]!), { _tag: "Rank", rank: 0 })
    }).pipe(guarded())
  )

  it.effect("determines whether its client may issue commands, and execute them", () =>
    Effect.gen(function* () {
      const issuer = yield* entered("issues")
      const executor = yield* entered("executes")
      const watcher = yield* entered("watches")
      const full = yield* entered("all")
      const mayNot = "not authorized: your token may not issue commands"
      for (const command of ["EXEC 2 x", "EXEC#a 2 x", "EXEC @m3 x"]) {
        const error = command.includes("#") ? "ERROR#a" : "ERROR"
        assert.deepStrictEqual(yield* say(executor, command), [`${error} 1 ${mayNot}`])
        assert.deepStrictEqual(yield* say(watcher, command), [`${error} 2 ${mayNot}`])
      }
      assert.deepStrictEqual(yield* say(issuer, "EXEC 1 x", "EXEC#b 1 y"), [])
      assert.deepStrictEqual(executor.lines(), ["EXEC 0 x", "EXEC#1 0 y"])
      assert.deepStrictEqual(yield* say(issuer, "EXEC 2 x"), [
        "ERROR 0 not authorized: not delivered to 1 of 1: may not execute"
      ])
      assert.deepStrictEqual(yield* say(issuer, "EXEC * x"), [
        "ERROR 0 not authorized: not delivered to 1 of 3: may not execute"
      ])
      assert.deepStrictEqual(yield* say(issuer, "EXEC#c * z"), ["RESULT#c 2 denied"])
      assert.deepStrictEqual(
        [executor.lines(), full.lines()],
        [
          ["EXEC 0 x", "EXEC#2 0 z"],
          ["EXEC 0 x", "EXEC#4 0 z"]
        ]
      )
      assert.deepStrictEqual(watcher.lines(), [])
      assert.match((yield* say(watcher, "RANKS")).at(-1)!, /^END 4/)
    }).pipe(guarded())
  )

  it.effect("may forbid some targets to execute: the error counts them, and the others get the command", () =>
    Effect.gen(function* () {
      const issuer = yield* entered("all")
      const watcher = yield* entered("watches")
      const lost = yield* (yield* Network).connect
      assert.include((yield* say(lost, '{"_tag":"Hello","protocol":1,"token":"all-2"}')).join(), "Welcome")
      const last = yield* entered("all")
      lost.reset()
      yield* settled
      last.lines()
      assert.deepStrictEqual(yield* say(issuer, "EXEC * x"), [
        "ERROR 0 busy: not delivered to 1 of 3: being closed, or absent; nor to 1: may not execute"
      ])
      assert.deepStrictEqual(watcher.lines(), [])
      assert.deepStrictEqual(last.lines(), ["EXEC 0 x"])
    }).pipe(guarded({ grace: Duration.seconds(5) }))
  )

  it.effect("that is revoked disconnects its clients", () =>
    Effect.gen(function* () {
      const [one, two, three] = [yield* entered("all"), yield* entered("all-2"), yield* entered("all")]
      revoke("all")
      yield* settled
      assert.deepStrictEqual([one.lines(), three.lines()], [["BYE kicked"], ["BYE kicked"]])
      assert.match(two.lines().join(), /^RANK 0 [12] [0-9]+ m2$/)
    }).pipe(guarded())
  )
})

describe("connections", () => {
  it.effect("are refused beyond the limits, in total and per subnet, until others close", () =>
    Effect.gen(function* () {
      const { connectFrom } = yield* Network
      const from = (address: string) => connectFrom(address)
      const [a, b, c] = [yield* from("10.0.0.1:1"), yield* from("10.0.0.1:2"), yield* from("10.0.0.1:3")]
      assert.deepStrictEqual(c.lines(), ["ERROR - server full: too many connections from your address"])
      assert.match(b.lines().join(), /^RANK 1 2/)
      const [d, e] = [yield* from("[2001:db8::1]:1"), yield* from("[2001:db8::2]:1")]
      assert.match(d.lines().join(), /^RANK 2 3/)
      // The refused connection is still closing, and counts.
      assert.deepStrictEqual(e.lines(), ["ERROR - server full: too many connections"])
      for (const socket of [a, c, e]) socket.close()
      yield* settled
      assert.match((yield* from("10.0.0.1:4")).lines().join(), /^RANK 2 3/)
    }).pipe(server({ maxConnections: 4, maxConnectionsPerAddress: 2 }))
  )

  it.each([
    ["10.1.2.3:80", "10.1.2.3"],
    ["[::ffff:10.1.2.3]:80", "10.1.2.3"],
    ["[2001:db8:1:2:3:4:5:6]:80", "2001:db8:1:2"],
    ["[2001:db8::6]:80", "2001:db8:0:0"],
    ["[::1]:80", "0:0:0:0"],
    ["[fe80::1:2:3:4]:80", "fe80:0:0:0"],
    ["unknown", "unknown"]
  ])("from %s count for %s", (address, network) => {
    assert.strictEqual(subnetOf(address), network)
  })
})

describe("a rate", () => {
  it.effect("limits the commands of each client, and allows a burst of the same size", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(3)
      const limited = "rate limited: 3 commands a second at most"
      assert.deepStrictEqual(yield* say(a, "EXEC 1 1", "EXEC#x 1 2", "EXEC @m2 3", "EXEC 1 4", "EXEC#y 1 5", "PING"), [
        `ERROR 0 ${limited}`,
        `ERROR#y 0 ${limited}`,
        "PONG"
      ])
      assert.deepStrictEqual(yield* say(b, "EXEC 2 1"), ["EXEC 0 1", "EXEC#1 0 2", "EXEC 0 3"])
      yield* TestClock.adjust("400 millis")
      assert.deepStrictEqual(yield* say(a, "EXEC 1 6", "EXEC 1 7"), [`ERROR 0 ${limited}`])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* say(a, ..."12345".split("").map((n) => `EXEC 2 ${n}`)), [
        `ERROR 0 ${limited}`,
        `ERROR 0 ${limited}`
      ])
    }).pipe(server({ rate: 3 }))
  )
})

describe("a rate, and commands that wait", () => {
  it.effect("counts a command once, even if it waits for its target", () =>
    Effect.gen(function* () {
      const clients = yield* connect(14)
      const [issuer, deaf] = [clients[12], clients[13]]
      deaf.reading = false
      for (const client of clients.slice(0, 12)) client.send(`EXEC 13 ${"x".repeat(60_000)}\n`)
      yield* settled
      issuer.send("EXEC 13 one\n")
      yield* settled
      deaf.resume()
      yield* settled
      yield* passes("100 millis")
      assert.deepStrictEqual(issuer.lines(), [])
      assert.strictEqual(deaf.lines().filter((line) => line === "EXEC 12 one").length, 1)
    }).pipe(server({ rate: 1 }))
  )

  it.effect("makes a client that changes the order wait for a watcher that does not keep up", () =>
    Effect.gen(function* () {
      const [watcher, flooder] = yield* connect(2)
      yield* say(watcher, "WATCH")
      watcher.reading = false
      flooder.send(`${"NAME a\nNAME b\n".repeat(3000)}PING\n`)
      yield* settled
      assert.notInclude(flooder.lines(), "PONG")
      // The watcher stays if it reads at all.
      let ponged = false
      for (let i = 0; i < 400 && !ponged; i++) {
        watcher.resume()
        yield* settled
        watcher.reading = false
        yield* TestClock.adjust("20 millis")
        ponged = flooder.lines().includes("PONG")
      }
      assert.isTrue(ponged)
      assert.isFalse(watcher.ended || watcher.destroyed)
    }).pipe(server({ maxPending: 65_536 }))
  )

  it.effect("limits the changes of the order, too", () =>
    transcript(`
      a> NAME a
      a> NAME b
      a> NAME c
      a> YIELD
      a> JOIN g
      a  RANK 0 1 1 m1
      a  NAMED 0 m1 a
      a  NAMED 0 m1 b
      a  ERROR 0 rate limited: 2 commands a second at most
      a  ERROR 0 rate limited: 2 commands a second at most
      a  ERROR 0 rate limited: 2 commands a second at most
    `).pipe(server({ rate: 2 }))
  )
})

describe("the targets of open commands", () => {
  it.effect("are limited, those of issuers that have left included", () =>
    transcript(`
      a b c d> connect
      a> EXEC#1 * x
      b  EXEC#1 0 x
      c  EXEC#2 0 x
      d  EXEC#3 0 x
      a> (reset)
      b  RANK 0 3 5 m2
      c  RANK 1 3 5 m3
      d  RANK 2 3 5 m4
      b> EXEC#2 1-2 x
      b> EXEC#3 1 x
      b  ERROR#2 0 too many open commands: of all clients together
      c  EXEC#4 0 x
    `).pipe(server({ maxOpenTargets: 4 }))
  )
})

describe("the bytes that wait for all clients together", () => {
  it.effect("are limited: only the client with the most waiting bytes is disconnected", () =>
    Effect.gen(function* () {
      const [issuer, ...targets] = yield* connect(6)
      for (const target of targets) target.reading = false
      // 100 KiB for each of five, and more for the third; 600 KiB are too many.
      for (let i = 0; i < 10; i++) yield* say(issuer, `EXEC 1-5 ${"x".repeat(10_000)}`)
      assert.isTrue(targets.every(({ destroyed, ended }) => !destroyed && !ended))
      for (let i = 0; i < 16; i++) yield* say(issuer, `EXEC 3 ${"y".repeat(10_000)}`)
      yield* passes("3 seconds")
      assert.deepStrictEqual(
        targets.map(({ destroyed }) => destroyed),
        [false, false, true, false, false]
      )
      assert.match((yield* say(issuer, "EXPLAIN *")).join(), /TARGETS 4/)
    }).pipe(server({ maxTotalPending: 600_000 }))
  )
})
