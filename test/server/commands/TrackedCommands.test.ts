/** Tracked commands: each ends exactly once at each target, whatever happens. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { textCodec } from "../../../src/protocol/text/TextCodec.ts"
import type { MemorySocket } from "../../support/MemorySocket.ts"
import { connect, Network, passes, say, server, settled } from "../../support/memoryServer.ts"
import { transcript } from "../../support/transcript.ts"

describe("a tracked command", () => {
  it.effect("brings its output and outcome to the issuer, with the rank of the target at routing", () =>
    transcript(String.raw`
      a b c> connect
      a> EXEC#job.1 2 uptime
      c  EXEC#1 0 uptime
      b> QUIT
      b  BYE quit
      c  RANK 1 2 4 m3
      c> OUTPUT#1 line\none
      c> OUTPUT#1 two
      c> RESULT#1 0 a\\b ü
      a  OUTPUT#job.1 2 line\none
      a  OUTPUT#job.1 2 two
      a  RESULT#job.1 2 0 a\\b ü
      # It has ended: the server drops what comes later.
      c> RESULT#1 1
      c> OUTPUT#1 late
      c> RESULT#99 0
      a  (nothing)
      a> CANCEL#job.1
      a  ERROR 0 no such command: job.1
    `).pipe(server())
  )

  it.effect("has its outcomes logged if its issuer has left; late results are counted", () => {
    const logged: Array<string> = []
    return Effect.gen(function* () {
      const [a, b, c] = yield* connect(3)
      yield* say(a, "EXEC#x * make", "EXEC#y 1 x", "QUIT")
      yield* say(b, "RESULT#1 7 failed", "RESULT#1 0", "RESULT#3 denied", "RESULT#99 0")
      yield* say(c, "QUIT")
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(
        logged.filter((line) => !/^(?:joined|left|leader)/.test(line)),
        [
          "ended without its issuer issuer=m1 id=x outcomes=m2=7 m3=lost",
          "ended without its issuer issuer=m1 id=y outcomes=m2=denied",
          "dropped late results results=2"
        ]
      )
    }).pipe(server({}, logged))
  })

  it.effect("has its outcomes logged in lines of limited length, also when the server stops", () => {
    const logged: Array<string> = []
    return Effect.gen(function* () {
      const [first, ...others] = yield* connect(251)
      yield* say(first, "EXEC#x * make", "QUIT")
      const network = yield* Network
      yield* Effect.forkChild(network.stop)
      yield* settled
      for (const client of [first, ...others]) client.reset()
      yield* settled
      const lines = logged.filter((line) => line.startsWith("ended"))
      assert.deepStrictEqual(
        lines.map((line) => line.split("=lost").length - 1),
        [100, 100, 50]
      )
    }).pipe(server({ maxClients: 300 }, logged))
  })

  it.effect("ends, even if more outcomes come than may wait for the issuer", () =>
    Effect.gen(function* () {
      const [a] = yield* connect(301)
      for (const end of ["CANCEL#x", undefined]) {
        yield* say(a, "EXEC#x * make")
        const heard = end === undefined ? [] : yield* say(a, end)
        for (let sweep = 0; sweep < 700 && !heard.at(-1)?.startsWith("DONE"); sweep++) {
          yield* passes("100 millis")
          heard.push(...a.lines())
        }
        assert.strictEqual(heard.length, 301)
        assert.strictEqual(new Set(heard).size, 301)
        assert.strictEqual(heard.at(-1), "DONE#x 0 300")
        assert.match(heard[0]!, end === undefined ? /^RESULT#x \d+ timeout$/ : /^RESULT#x \d+ cancelled$/)
      }
      assert.deepStrictEqual(yield* say(a, "PING"), ["PONG"])
    }).pipe(server({ maxClients: 400, maxPending: 4096 }))
  )

  it.effect("to several targets has an outcome from each, and then DONE", () =>
    transcript(`
      a b c> connect
      a> EXEC#x * make
      b  EXEC#1 0 make
      c  EXEC#2 0 make
      c> RESULT#2 7 failed
      a  RESULT#x 2 7 failed
      b> RESULT#1 0
      a  RESULT#x 1 0
      a  DONE#x 1 1
      a> EXEC#x 1-1 again
      b  EXEC#3 0 again
      b> RESULT#3 denied
      a  RESULT#x 1 denied
      a  DONE#x 0 1
    `).pipe(server())
  )

  it.effect("is rejected as a whole, with its id", () =>
    transcript(`
      a b> connect
      b> EXEC#1 0 x
      b> EXEC#2 9 x
      b> EXEC#3 * x
      b> EXEC#4 @no x
      b> EXEC#5 01 x
      b> EXEC#6 1
      b> EXEC#a/b 0 x
      b  ERROR#1 1 rank too high
      b  ERROR#2 1 no such rank
      b  ERROR#3 1 nobody below
      b  ERROR#4 1 no such member
      b  ERROR#5 1 malformed: expected a rank (3), a range (2-5), *, @name or @m7
      b  ERROR#6 1 malformed: write EXEC[#<id>] <to> <command>
      b  ERROR 1 malformed: expected an id: 1-64 of A-Z a-z 0-9 . _ -
      a> EXEC#1 1 x
      a> EXEC#1 1 y
      a> EXEC#2 1 x
      a> EXEC#3 1 x
      a  ERROR#1 0 duplicate id
      a  ERROR#3 0 too many open commands
      b  EXEC#1 0 x
      b  EXEC#2 0 x
      b> RESULT#1 0
      a  RESULT#1 1 0
      a> EXEC#1 1 z
      b  EXEC#3 0 z
    `).pipe(server({ maxOpenCommands: 2 }))
  )

  it.effect("accepts an answer only from its target", () =>
    transcript(`
      a b c> connect
      a> EXEC#x 1 make
      b  EXEC#1 0 make
      c> OUTPUT#1 evil
      c> RESULT#1 0 evil
      a> RESULT#1 0 evil
      a  (nothing)
      b> RESULT#1 0 good
      a  RESULT#x 1 0 good
    `).pipe(server())
  )

  it.effect("ends at once when its issuer cancels it, and its targets get CANCEL", () =>
    transcript(`
      a b c> connect
      a> EXEC#x * make
      b  EXEC#1 0 make
      c  EXEC#2 0 make
      b> RESULT#1 0
      a  RESULT#x 1 0
      a> CANCEL#x
      a  RESULT#x 2 cancelled
      a  DONE#x 1 1
      c  CANCEL#2
      c> RESULT#2 0
      a b  (nothing)
    `).pipe(server())
  )

  it.effect("times out after a minute, or after the issuer's timeout", () =>
    transcript(`
      a b> connect
      a> EXEC#slow 1 sleep
      b  EXEC#1 0 sleep
      -- 59900 millis
      a  (nothing)
      -- 200 millis
      a  RESULT#slow 1 timeout
      b  CANCEL#1
      a> {"_tag":"Exec","id":"t","to":"1","command":"x","timeout":3600001}
      a  {"_tag":"Error","reason":"malformed","rank":0,"detail":"a command may take 3600000 ms at most","id":"t"}
      a> {"_tag":"Exec","id":"t","to":"1","command":"x","timeout":1000}
      b  EXEC#2 0 x
      -- 1100 millis
      a  {"_tag":"Result","id":"t","rank":1,"status":"timeout"}
      b  CANCEL#2
    `).pipe(server())
  )

  it.effect("is lost if the target leaves after it was sent, and undelivered if before", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      yield* say(a, "EXEC#sent 1 x")
      b.reading = false
      // This fills the socket; the lines behind it wait in the server.
      yield* say(a, `EXEC 1 ${"x".repeat(60_000)}`)
      yield* say(a, "EXEC#waits 1 y")
      b.reset()
      yield* settled
      assert.deepStrictEqual(a.lines(), ["RESULT#sent 1 lost", "RESULT#waits 1 undelivered"])
    }).pipe(server())
  )

  it.effect("is never sent after it is undelivered, or has ended otherwise", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      b.reading = false
      yield* say(a, `EXEC 1 ${"x".repeat(60_000)}`)
      yield* say(a, "EXEC#gone 1 x", "EXEC#back 1 y", "EXEC 1 plain")
      assert.deepStrictEqual(yield* say(a, "CANCEL#back"), ["RESULT#back 1 cancelled"])
      yield* say(b, "JOIN other")
      assert.deepStrictEqual(a.lines(), ["RESULT#gone 1 undelivered"])
      b.resume()
      yield* settled
      const heard = b.lines()
      assert.deepStrictEqual(heard.slice(1), ["EXEC 0 plain", "RANK 0 1 1 m2"])
    }).pipe(server())
  )

  it.effect("has its output cut if it would not fit in a line", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      yield* say(a, '{"_tag":"Exec","id":"i","to":"1","command":"x"}')
      b.send(`RESULT#1 0 ${"\\x7f".repeat(200)}\n`)
      yield* settled
      const [line = "", ...more] = a.lines()
      assert.deepStrictEqual(more, [])
      assert.isAtMost(line.length + 1, 1000)
      const { output, truncated } = JSON.parse(line)
      assert.isTrue(truncated)
      assert.match(output, /^\x7f{100,}$/)
    }).pipe(server({ maxLine: 1000 }))
  )

  it.effect("ends before the server says BYE", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const [a, b, c] = yield* connect(3)
      yield* say(a, "EXEC#x * make")
      const stop = yield* Effect.forkChild(network.stop)
      yield* settled
      assert.deepStrictEqual(a.lines(), ["RESULT#x 1 lost", "RESULT#x 2 lost", "DONE#x 0 2", "BYE shutting down"])
      for (const client of [a, b, c]) client.close()
      yield* Fiber.join(stop)
    }).pipe(server({ drain: Duration.zero }))
  )

  it.effect("continues for a minute at most after its issuer has left", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      yield* say(a, '{"_tag":"Exec","id":"i","to":"1","command":"x","timeout":3600000}')
      a.close()
      yield* passes("61 seconds")
      assert.deepStrictEqual(
        b.lines().filter((line) => line.startsWith("CANCEL")),
        ["CANCEL#1"]
      )
    }).pipe(server())
  )

  it.effect("continues without its issuer, and no other client gets its outcome", () =>
    transcript(`
      a b c> connect
      a> EXEC#x 2 make
      c  EXEC#1 0 make
      a> (reset)
      b  RANK 0 2 4 m2
      c  RANK 1 2 4 m3
      b> EXEC#x 1 other
      c  EXEC#2 0 other
      c> RESULT#1 0
      c> RESULT#2 0
      b  RESULT#x 1 0
    `).pipe(server())
  )

  it.effect("ends in one sweep with a hundred thousand others", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      for (let i = 0; i < 100; i++) {
        yield* say(a, ...Array.from({ length: 1000 }, (_, j) => `EXEC#${i}.${j} 1 x`))
        b.lines()
      }
      yield* passes("1100 millis")
      const ended = a.lines()
      assert.strictEqual(ended.length, 100_000)
      assert.isTrue(ended.every((line) => line.endsWith(" 1 timeout")))
    }).pipe(server({ maxOpenCommands: 100_000, maxPending: 33_554_432, commandTimeout: Duration.seconds(1) }))
  )
})

describe("encodings", () => {
  const hello = '{"_tag":"Hello","protocol":1}'

  it.effect("follow the lines that each client sends", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const a = yield* network.connect
      assert.deepStrictEqual(a.lines(), ["RANK 0 1 1 m1"])
      assert.deepStrictEqual(yield* say(a, '{"_tag":"Hello","protocol":1,"name":"boss"}'), [
        '{"_tag":"Welcome","protocol":1,"server":"rankd/0.1.0","member":"m1","group":"default","rank":0,"size":1,"epoch":1,"maxLine":65536,"heartbeat":0,"commandTimeout":60000,"maxCommandTimeout":3600000}',
        '{"_tag":"Named","rank":0,"member":"m1","name":"boss"}'
      ])
      // The server understands a line of text, and answers in JSON.
      assert.deepStrictEqual(
        yield* say(a, "RANKS", '{"_tag":"Ping","text":"x"}', "{", '{"_tag":"Hello","protocol":2}'),
        [
          '{"_tag":"Roster","size":1,"epoch":1,"members":[{"rank":0,"member":"m1","address":"unknown","name":"boss"}]}',
          '{"_tag":"Pong","text":"x"}',
          '{"_tag":"Error","reason":"malformed","rank":0,"detail":"expected one JSON object on one line"}',
          '{"_tag":"Error","reason":"malformed","rank":0,"detail":"this server speaks protocol 1"}'
        ]
      )
    }).pipe(server())
  )

  it.effect("reject a PING whose answer would not fit in a line", () =>
    Effect.gen(function* () {
      const [a] = yield* connect(1)
      yield* say(a, '{"_tag":"Ping"}')
      const [answer] = yield* say(a, `PING ${'"'.repeat(300)}`)
      assert.deepInclude(JSON.parse(answer!), { _tag: "Error", reason: "malformed" })
      const [pong] = yield* say(a, `PING ${'"'.repeat(200)}`)
      assert.deepInclude(JSON.parse(pong!), { _tag: "Pong" })
    }).pipe(server({ maxLine: 512 }))
  )

  it.effect("mix: any pairing delivers the same command, in exactly one line", () =>
    Effect.gen(function* () {
      const nasty = 'EXEC 1 "x"\\n{}'
      const output = 'a\nRANK 0 1 1 m1\r\n\u001b[2J\\n "\u007f\u0000\u0080\u009b \u2028\u00a0 \u{1f600}'
      const escaped = 'a\\nRANK 0 1 1 m1\\r\\n\\x1b[2J\\\\n "\\x7f\\x00\\x80\\x9b \u2028\u00a0 \u{1f600}'
      for (const [issues, executes] of [
        ["text", "text"],
        ["text", "json"],
        ["json", "text"],
        ["json", "json"]
      ] as const) {
        yield* Effect.gen(function* () {
          const [a, b] = yield* connect(2)
          if (issues === "json") yield* say(a, hello)
          if (executes === "json") yield* say(b, hello)
          const exec = (id?: string) =>
            issues === "json"
              ? JSON.stringify({ _tag: "Exec", ...(id && { id }), to: "1", command: nasty })
              : `EXEC${id ? `#${id}` : ""} 1 ${nasty}`
          assert.deepStrictEqual(yield* say(a, exec(), exec("i")), [])
          const heard = b.lines()
          assert.deepStrictEqual(
            heard.map((line) => (executes === "json" ? JSON.parse(line) : line)),
            executes === "json"
              ? [
                  { _tag: "Exec", from: 0, command: nasty, epoch: 2 },
                  { _tag: "Exec", id: "1", from: 0, command: nasty, epoch: 2 }
                ]
              : [`EXEC 0 ${nasty}`, `EXEC#1 0 ${nasty}`]
          )
          const silent = yield* say(
            b,
            executes === "json" ? JSON.stringify({ _tag: "Output", id: "1", text: output }) : `OUTPUT#1 ${escaped}`,
            executes === "json"
              ? JSON.stringify({ _tag: "Result", id: "1", status: 3, output })
              : `RESULT#1 3 ${escaped}`
          )
          assert.deepStrictEqual(silent, [])
          assert.deepStrictEqual(
            a.lines().map((line) => (issues === "json" ? JSON.parse(line) : line)),
            issues === "json"
              ? [
                  { _tag: "Output", id: "i", rank: 1, text: output },
                  { _tag: "Result", id: "i", rank: 1, status: 3, output }
                ]
              : [`OUTPUT#i 1 ${escaped}`, `RESULT#i 1 3 ${escaped}`]
          )
        }).pipe(server())
      }
    })
  )

  it.effect("can carry a condition: the epoch, or the member at the rank", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      const exec = (guard: object) => JSON.stringify({ _tag: "Exec", to: "1", command: "x", ...guard })
      const stale = (line: string) => assert.strictEqual(JSON.parse(line).reason, "stale epoch")
      assert.deepStrictEqual(
        yield* say(a, exec({ epoch: 2 }), exec({ member: "m2" }), exec({ epoch: 2, member: "m2" })),
        []
      )
      assert.strictEqual(b.lines().length, 3)
      for (const guard of [
        { epoch: 1 },
        { epoch: 3 },
        { member: "m1" },
        { member: "m3" },
        { to: "*", member: "m7" },
        { to: "9", member: "m2" }
      ]) {
        const answers = yield* say(a, exec(guard))
        assert.strictEqual(answers.length, 1)
        stale(answers[0]!)
      }
      assert.deepStrictEqual(b.lines(), [])
    }).pipe(server())
  )
})

describe("groups", () => {
  it.effect("have an order each, and no command leaves its group", () =>
    transcript(`
      a b c> connect
      a> WATCH
      a  MEMBER 0 m1 - unknown
      a  MEMBER 1 m2 - unknown
      a  MEMBER 2 m3 - unknown
      a  END 3 3
      b> NAME bea
      a b  NAMED 1 m2 bea
      b> JOIN other
      b  RANK 0 1 1 m2
      a  LEFT 1 m2 joined another group
      c  RANK 1 2 4 m3
      c> JOIN other
      c> EXEC 0 x
      c  RANK 1 2 2 m3
      c  ERROR 1 rank too high
      a  LEFT 1 m3 joined another group
      a> EXEC * x
      a> EXEC @bea x
      a  ERROR 0 nobody below
      a  ERROR 0 no such member
      b> EXEC 1 y
      b> RANKS
      b  MEMBER 0 m2 bea unknown
      b  MEMBER 1 m3 - unknown
      b  END 2 2
      c  EXEC 0 y
      b> JOIN other
      b  RANK 1 2 3 m2
      c  RANK 0 2 3 m3
    `).pipe(server())
  )

  it.effect("admit a client with its name, or not at all", () =>
    Effect.gen(function* () {
      const [a, b, c] = yield* connect(3)
      yield* say(b, "JOIN other", "WATCH")
      yield* say(a, "NAME x", "JOIN other")
      assert.deepStrictEqual(b.lines(), ["JOINED 1 m1", "NAMED 1 m1 x"])
      yield* say(b, "JOIN default", "NAME x")
      assert.deepStrictEqual(yield* say(b, "JOIN other"), ["ERROR 1 name taken"])
      yield* say(b, "NAME y", "JOIN other")
      const [d] = yield* connect(1)
      yield* say(d, "JOIN other")
      c.lines()
      assert.deepStrictEqual(yield* say(c, "JOIN other", "PING", "JOIN bad/name"), [
        "ERROR 0 server full",
        "PONG",
        "ERROR 0 malformed: expected a group: 1-64 of A-Z a-z 0-9 . _ -"
      ])
    }).pipe(server({ maxClients: 3 }))
  )

  it.effect("end the commands to a member that joins another", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      yield* say(a, "EXEC#x 1 make")
      yield* say(b, "JOIN other", "RESULT#1 0")
      assert.deepStrictEqual(a.lines(), ["RESULT#x 1 lost"])
    }).pipe(server())
  )

  it.effect("admit a client when it asks, with --admission hello", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const a = yield* network.connect
      assert.deepStrictEqual(yield* say(a, "PING", "RANKS", "EXEC 1 x", "EXEC#i 1 x", "NAME n"), [
        "PONG",
        "ERROR - not authorized: say JOIN or Hello first",
        "ERROR - not authorized: say JOIN or Hello first",
        "ERROR#i - not authorized: say JOIN or Hello first",
        "ERROR - not authorized: say JOIN or Hello first"
      ])
      const b = yield* network.connect
      const welcome = JSON.parse((yield* say(b, '{"_tag":"Hello","protocol":1,"name":"b","group":"g"}'))[0]!)
      assert.deepInclude(welcome, { _tag: "Welcome", member: "m1", group: "g", rank: 0, size: 1 })
      assert.match((yield* say(a, "JOIN g")).join(), /^RANK 1 2 [0-9]+ m2$/)
      const c = yield* network.connect
      assert.deepStrictEqual(yield* say(c, "JOIN g"), ["ERROR - server full"])
      assert.isTrue(c.ended)
      a.close()
      b.close()
      c.close()
      yield* settled
    }).pipe(server({ admission: "hello", maxClients: 2 }))
  )
})

/** No multiple of seven tenths of a second is the timeout: at no moment is it open whether a command has timed out. */
const WAIT = 700
const TIMEOUT = 6000

const Step = Schema.Struct({
  kind: Schema.Literals([
    ...["exec", "exec", "exec", "exec", "result", "result", "result"],
    ...["output", "late", "stolen", "cancel", "leave", "join", "yield", "wait"]
  ] as const),
  whom: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99 })),
  to: Schema.Literals(["*", "*", "1", "2", "1-2", "3"]),
  /** The number of `WAIT`s. */
  wait: Schema.Literals([1, 2, 5])
})

/** The oracle's delivery of one command to one target. */
interface Expected {
  readonly issuer: MemorySocket
  /** The issuer's id. */
  readonly id: string
  readonly target: MemorySocket
  readonly rank: number
  /** When it opened, in milliseconds. */
  readonly since: number
  status: string | undefined
}

describe("exactly one end", () => {
  it.effect.prop(
    "reaches every target of every command, and has one outcome at each, in any order of events",
    [Schema.Array(Step).check(Schema.isMinLength(60), Schema.isMaxLength(200))],
    ([steps]) =>
      Effect.gen(function* () {
        const network = yield* Network
        /** The present members, by rank. */
        const members = yield* connect(5)
        const all = [...members]
        const speaksJson = (client: MemorySocket) => all.indexOf(client) % 2 === 1
        /** For each client, the server's ids of the commands that reached it, in order, and how many it has answered. */
        const reached = new Map<MemorySocket, Array<string>>()
        const answered = new Map<MemorySocket, number>()
        const deliveries: Array<Expected> = []
        const actual: Array<string> = []
        const expected: Array<string> = []
        let now = 0
        let commands = 0

        const hear = Effect.gen(function* () {
          yield* settled
          for (const client of all) {
            for (const line of client.lines()) {
              const message = line.startsWith("{") ? JSON.parse(line) : textCodec.decodeServer(line)
              const said = message._tag === "Success" ? message.success : message
              const name = all.indexOf(client)
              if (said._tag === "Exec") reached.set(client, [...(reached.get(client) ?? []), said.id])
              if (said._tag === "Result") actual.push(`${name} ${said.id}: ${said.rank} ${said.status}`)
              if (said._tag === "Done") actual.push(`${name} ${said.id}: done ${said.ok} ${said.notOk}`)
              if (said._tag === "Error" && said.id) actual.push(`${name} ${said.id}: ${said.reason}`)
            }
          }
        })

        /** The lines that the oracle expects for the issuer when deliveries end. */
        const end = (ending: ReadonlyArray<Expected>, status: string) => {
          for (const delivery of ending) {
            delivery.status = status
            if (!members.includes(delivery.issuer) && !halfClosed.has(delivery.issuer)) continue
            const name = `${all.indexOf(delivery.issuer)} ${delivery.id}`
            expected.push(`${name}: ${delivery.rank} ${status}`)
            const its = deliveries.filter(({ id }) => id === delivery.id)
            const ok = its.filter((one) => one.status === "0").length
            if (several.has(delivery.id) && its.every((one) => one.status !== undefined)) {
              expected.push(`${name}: done ${ok} ${its.length - ok}`)
            }
          }
        }
        const several = new Set<string>()
        /** They have ended their side, and still get the outcomes of their open commands. */
        const halfClosed = new Set<MemorySocket>()
        const open = () => deliveries.filter(({ status }) => status === undefined)

        const say = (client: MemorySocket, text: string, json: object) =>
          client.send(`${speaksJson(client) ? JSON.stringify(json) : text}\n`)
        const answer = (client: MemorySocket, id: string, status: number) =>
          say(client, `RESULT#${id} ${status}`, { _tag: "Result", id, status })

        for (const { kind, to, wait, whom } of steps) {
          const rank = Math.floor((whom / 100) * members.length)
          const client = members[rank]
          if (kind === "join" && members.length < 7) {
            const joined = yield* network.connect
            members.push(joined)
            all.push(joined)
          } else if (kind === "wait") {
            now += wait * WAIT
            yield* TestClock.adjust(wait * WAIT)
            end(
              open().filter(({ since }) => now - since > TIMEOUT),
              "timeout"
            )
          } else if (client === undefined) {
            continue
          } else if (kind === "exec") {
            const id = `c${++commands}`
            const [first, last] = to === "*" ? [rank + 1, members.length - 1] : to.split("-").map(Number)
            const end = last ?? first!
            if (to === "*" || to.includes("-")) several.add(id)
            const name = `${all.indexOf(client)} ${id}`
            if (to === "*" && rank === members.length - 1) expected.push(`${name}: nobody below`)
            else if (first! <= rank) expected.push(`${name}: rank too high`)
            else if (end >= members.length) expected.push(`${name}: no such rank`)
            else {
              for (let rank = first!; rank <= end; rank++) {
                deliveries.push({ issuer: client, id, target: members[rank]!, rank, since: now, status: undefined })
              }
            }
            say(client, `EXEC#${id} ${to} x`, { _tag: "Exec", id, to, command: "x" })
          } else if (kind === "result") {
            const next = answered.get(client) ?? 0
            const id = reached.get(client)?.[next]
            if (id === undefined) continue
            answered.set(client, next + 1)
            const delivery = deliveries.filter(({ target }) => target === client)[next]!
            answer(client, id, whom % 2)
            if (delivery.status === undefined) end([delivery], `${whom % 2}`)
          } else if (kind === "late") {
            const ids = reached.get(client)?.slice(0, answered.get(client) ?? 0) ?? []
            for (const id of ids.slice(-3)) answer(client, id, 2)
          } else if (kind === "stolen") {
            for (const [other, ids] of reached) if (other !== client) answer(client, ids.at(-1)!, 3)
          } else if (kind === "output") {
            const id = reached.get(client)?.at(-1)
            if (id !== undefined) say(client, `OUTPUT#${id} x`, { _tag: "Output", id, text: "x" })
          } else if (kind === "cancel") {
            const id = `c${1 + (whom % Math.max(1, commands))}`
            end(
              open().filter((delivery) => delivery.id === id && delivery.issuer === client),
              "cancelled"
            )
            say(client, `CANCEL#${id}`, { _tag: "Cancel", id })
          } else if (kind === "yield") {
            say(client, "YIELD", { _tag: "Yield" })
            members.push(...members.splice(rank, 1))
          } else if (kind === "leave") {
            members.splice(rank, 1)
            end(
              open().filter(({ target }) => target === client),
              "lost"
            )
            if (whom % 2 === 0) client.reset()
            else {
              halfClosed.add(client)
              client.close()
            }
          }
          yield* hear
          // Within one step, the order of outcomes from different targets is not promised.
          assert.deepStrictEqual(actual.splice(0).sort(), expected.splice(0).sort(), `${kind} ${to} by ${rank}`)
        }
      }).pipe(server({ commandTimeout: Duration.millis(TIMEOUT) })),
    { timeout: 120_000, arbitrary: { runs: 100 } }
  )
})
