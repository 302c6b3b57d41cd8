import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import type { MemorySocket } from "../../support/MemorySocket.ts"
import { connect, Network, say, server, settled } from "../../support/memoryServer.ts"

/** What the client received after it said `line` and before it was answered `answer`, however many turns that takes. */
const saysAtLast = Effect.fnUntraced(function* (client: MemorySocket, line: string, answer: string) {
  const heard = yield* say(client, line)
  for (let turn = 0; turn < 100 && heard.at(-1) !== answer; turn++) {
    yield* settled
    heard.push(...client.lines())
  }
  assert.strictEqual(heard.pop(), answer)
  return heard
})

describe("a session", () => {
  it.effect("is told its rank, the size, the epoch and its id on admission", () =>
    Effect.gen(function* () {
      const network = yield* Network
      assert.deepStrictEqual((yield* network.connect).lines(), ["RANK 0 1 1 m1"])
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual((yield* network.connect).lines(), ["RANK 1 2 3600000000 m2"])
      assert.deepStrictEqual((yield* network.connect).lines(), ["RANK 2 3 3600000001 m3"])
    }).pipe(server())
  )

  it.effect("passes commands down, and never up or to itself", () =>
    Effect.gen(function* () {
      const [a, b, c] = (yield* connect(3)) as [MemorySocket, MemorySocket, MemorySocket]
      assert.deepStrictEqual(yield* say(a, "EXEC 1 uptime", "EXEC 2 ls -l  "), [])
      assert.deepStrictEqual(b.lines(), ["EXEC 0 uptime"])
      assert.deepStrictEqual(c.lines(), ["EXEC 0 ls -l  "])
      assert.deepStrictEqual(yield* say(b, "EXEC 2 x", "EXEC 1 x", "EXEC 0 x", "EXEC 3 x"), [
        "ERROR 1 rank too high",
        "ERROR 1 rank too high",
        "ERROR 1 no such rank"
      ])
      assert.deepStrictEqual(c.lines(), ["EXEC 1 x"])
      assert.deepStrictEqual(a.lines(), [])
      assert.deepStrictEqual(yield* say(a, "EXEC 1 before", "YIELD", "EXEC 0 after"), [
        "RANK 2 3 4 m1",
        "ERROR 2 rank too high"
      ])
    }).pipe(server())
  )

  it.effect("reaches a range, everyone below, a name and a member id; a range is rejected as a whole", () =>
    Effect.gen(function* () {
      const clients = yield* connect(5)
      const [a, b] = clients as [MemorySocket, MemorySocket]
      yield* say(clients[3]!, "NAME dora")
      const heard = Effect.map(settled, () => clients.map((client) => client.lines().length))
      for (const [to, reached] of [
        ["1-2", [0, 1, 1, 0, 0]],
        ["*", [0, 1, 1, 1, 1]],
        ["@dora", [0, 0, 0, 1, 0]],
        ["@m5", [0, 0, 0, 0, 1]]
      ] as const) {
        a.send(`EXEC ${to} x\n`)
        assert.deepStrictEqual(yield* heard, [...reached])
      }
      const answers = yield* say(
        b,
        "EXEC 1-3 x",
        "EXEC 0-9 x",
        "EXEC 2-5 x",
        "EXEC @nobody x",
        "EXEC @m99 x",
        "EXEC @m1 x"
      )
      assert.deepStrictEqual(answers, [
        "ERROR 1 rank too high",
        "ERROR 1 rank too high",
        "ERROR 1 no such rank",
        "ERROR 1 no such member",
        "ERROR 1 no such member",
        "ERROR 1 rank too high"
      ])
      assert.deepStrictEqual(yield* say(clients[4]!, "EXEC * x"), ["ERROR 4 nobody below"])
      assert.deepStrictEqual(yield* heard, [0, 0, 0, 0, 0])
      assert.deepStrictEqual(yield* say(b, "EXPLAIN 2-3", "EXPLAIN *", "EXPLAIN @dora", "EXPLAIN 0", "EXPLAIN 5-6"), [
        "TARGETS 2 2:m3 3:m4",
        "TARGETS 3 2:m3 3:m4 4:m5",
        "TARGETS 1 3:m4",
        "ERROR 1 rank too high",
        "ERROR 1 no such rank"
      ])
    }).pipe(server())
  )

  it.effect("answers what it is asked", () =>
    Effect.gen(function* () {
      const [a, b] = (yield* connect(2)) as [MemorySocket, MemorySocket]
      assert.deepStrictEqual(yield* say(a, "NAME boss", "NAME boss", "RANKS"), [
        "NAMED 0 m1 boss",
        "NAMED 0 m1 boss",
        "MEMBER 0 m1 boss unknown",
        "MEMBER 1 m2 - unknown",
        "END 2 2"
      ])
      assert.deepStrictEqual(yield* say(b, "WHOIS @boss", "WHOIS @m2", "WHOIS @Boss", "WHOIS @m3"), [
        "MEMBER 0 m1 boss unknown",
        "MEMBER 1 m2 - unknown",
        "ERROR 1 no such member",
        "ERROR 1 no such member"
      ])
      assert.deepStrictEqual(yield* say(b, "NAME boss", "NAME m3", "PING", "ping  a b", "PONG", "FROB", "EXEC 1", ""), [
        "ERROR 1 name taken",
        "ERROR 1 malformed: expected a name: 1-64 of A-Z a-z 0-9 . _ -, not like a member id, not a lone -",
        "PONG",
        "PONG  a b",
        "ERROR 1 unknown command: try HELP",
        "ERROR 1 malformed: write EXEC[#<id>] <to> <command>"
      ])
      assert.isAbove((yield* say(b, "HELP")).length, 10)
      assert.deepStrictEqual(yield* say(b, "UNWATCH", "PONG x"), [])
      // Names that differ by case are two.
      assert.deepStrictEqual(yield* say(b, "NAME Boss", "WHOIS @boss", "WHOIS @Boss"), [
        "NAMED 1 m2 Boss",
        "MEMBER 0 m1 boss unknown",
        "MEMBER 1 m2 Boss unknown"
      ])
      assert.deepStrictEqual(yield* say(b, "QUIT", "RANKS"), ["BYE quit"])
      assert.isTrue(b.ended)
      b.close()
      yield* settled
      assert.isTrue(b.destroyed)
    }).pipe(server())
  )

  it.effect("tells watchers the list and then every change, and no more after UNWATCH", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const [a, b] = (yield* connect(2)) as [MemorySocket, MemorySocket]
      assert.deepStrictEqual(yield* say(b, "WATCH"), ["MEMBER 0 m1 - unknown", "MEMBER 1 m2 - unknown", "END 2 2"])
      const c = yield* network.connect
      yield* say(c, "NAME carl")
      yield* say(a, "YIELD")
      assert.deepStrictEqual(b.lines(), ["JOINED 2 m3", "NAMED 2 m3 carl", "MOVED 0 2 m1", "RANK 0 3 4 m2"])
      assert.deepStrictEqual(yield* say(b, "NAME bea"), ["NAMED 0 m2 bea"])
      assert.deepStrictEqual(yield* say(a, "YIELD"), ["RANK 2 3 5 m1"])
      yield* say(c, "QUIT")
      a.close()
      yield* settled
      assert.deepStrictEqual(b.lines(), ["LEFT 1 m3 quit", "LEFT 1 m1 closed"])
      const d = yield* network.connect
      d.reset()
      yield* settled
      assert.deepStrictEqual(b.lines(), ["JOINED 1 m4", "LEFT 1 m4 reset"])
      yield* say(b, "UNWATCH")
      yield* network.connect
      assert.deepStrictEqual(b.lines(), [])
    }).pipe(server())
  )

  it.effect("is refused when the group is full, and the freed place is given to the next", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const [a, b] = (yield* connect(2)) as [MemorySocket, MemorySocket]
      const refused = yield* network.connect
      refused.send("EXEC 0 x\nRANKS\n")
      yield* settled
      assert.deepStrictEqual(refused.lines(), ["ERROR - server full"])
      assert.isTrue(refused.ended)
      a.close()
      yield* settled
      assert.deepStrictEqual(b.lines(), ["RANK 0 1 3 m2"])
      assert.deepStrictEqual((yield* network.connect).lines(), ["RANK 1 2 4 m3"])
    }).pipe(server({ maxClients: 2 }))
  )

  it.effect("ends at a line too long, which is told", () =>
    Effect.gen(function* () {
      const [a, b, c, d] = (yield* connect(4)) as [MemorySocket, MemorySocket, MemorySocket, MemorySocket]
      const exec = (length: number) => `EXEC 3 ${"x".repeat(length - 7)}`
      assert.deepStrictEqual(yield* say(a, exec(999)), [])
      assert.deepStrictEqual(d.lines(), [`EXEC 0 ${"x".repeat(992)}`])
      assert.deepStrictEqual(yield* say(a, exec(1000)), ["ERROR 0 line too long"])
      assert.isTrue(a.ended)
      // A line need not end to be too long.
      b.send("y".repeat(1000))
      yield* settled
      assert.deepStrictEqual(b.lines().slice(-1), ["ERROR 0 line too long"])
      // After the end nothing is done any more, and what still comes is thrown away.
      yield* say(c, "PING")
      a.send("EXEC * late\n")
      b.send("\nEXEC * late\n")
      yield* settled
      assert.deepStrictEqual(c.lines(), [])
    }).pipe(server({ maxLine: 1000 }))
  )

  it.effect("rejects a command that would be too long for the target, and ends nothing", () =>
    Effect.gen(function* () {
      const clients = yield* connect(12)
      const tenth = clients[10]!
      const command = (line: number) => "x".repeat(line - "EXEC * \n".length)
      assert.deepStrictEqual(yield* say(tenth, `EXEC * ${command(599)}`), [])
      assert.deepStrictEqual(clients[11]!.lines(), [`EXEC 10 ${command(599)}`])
      assert.deepStrictEqual(yield* say(tenth, `EXEC * ${command(600)}`, "PING"), [
        "ERROR 10 malformed: a target's line would have more than 600 bytes",
        "PONG"
      ])
    }).pipe(server({ maxLine: 600 }))
  )

  it.effect("takes nothing but UTF-8 without control characters", () =>
    Effect.gen(function* () {
      const [a, b] = (yield* connect(2)) as [MemorySocket, MemorySocket]
      const malformed = "ERROR 0 malformed: a line is UTF-8 without control characters"
      for (const bytes of [
        "\xff",
        "EXEC 1 \xc3",
        "EXEC 1 \xed\xa0\x80",
        "EXEC 1 \xc0\xaf",
        "PING \0",
        "EXEC 1 a\rb",
        "\x1b[2J",
        "\x7f"
      ]) {
        a.send(Buffer.from(`${bytes}\n`, "latin1"))
        yield* settled
        assert.deepStrictEqual(a.lines(), [malformed], JSON.stringify(bytes))
      }
      assert.deepStrictEqual(yield* say(a, "EXEC 1 tab\tund \u00fcml\u00e4ut \u{1f600}\r"), [])
      assert.deepStrictEqual(b.lines(), ["EXEC 0 tab\tund \u00fcml\u00e4ut \u{1f600}"])
    }).pipe(server())
  )

  it.effect("does the same wherever the bytes are split", () =>
    Effect.gen(function* () {
      const [a, b] = (yield* connect(2)) as [MemorySocket, MemorySocket]
      for (const byte of Buffer.from("exec 1 \u{1f600}!\r\nPING x\n")) {
        a.send(Uint8Array.of(byte))
        yield* settled
      }
      assert.deepStrictEqual(a.lines(), ["PONG x"])
      assert.deepStrictEqual(b.lines(), ["EXEC 0 \u{1f600}!"])
    }).pipe(server())
  )

  it.effect.each([
    "GET / HTTP/1.1",
    "POST /x HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "PRI * HTTP/2.0",
    "Host: localhost:5000",
    "GET /\u0001 HTTP/1.1",
    "POST /\u007f HTTP/1.1"
  ])("is cut off at once when it begins with %s", (line) =>
    Effect.gen(function* () {
      const [a, b] = (yield* connect(2)) as [MemorySocket, MemorySocket]
      assert.deepStrictEqual(yield* say(a, line, "Host: localhost", "", "EXEC * x"), [])
      assert.isTrue(a.destroyed)
      assert.deepStrictEqual(b.lines(), ["RANK 0 1 3 m2"])
    }).pipe(server())
  )

  it.effect("leaves, and its place is closed, when it is killed in mid-line", () =>
    Effect.gen(function* () {
      const [a, b, c] = (yield* connect(3)) as [MemorySocket, MemorySocket, MemorySocket]
      a.send("EXEC 1 rm -rf")
      yield* settled
      a.reset()
      yield* settled
      assert.deepStrictEqual(b.lines(), ["RANK 0 2 4 m2"])
      assert.deepStrictEqual(c.lines(), ["RANK 1 2 4 m3"])
    }).pipe(server())
  )

  it.effect("answers every line that came before the client ended its side", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const a = yield* network.connect
      a.send("PING 1\nRANKS\nPING 2\nPING no line end")
      a.close()
      yield* settled
      assert.deepStrictEqual(a.lines(), ["RANK 0 1 1 m1", "PONG 1", "MEMBER 0 m1 - unknown", "END 1 1", "PONG 2"])
      assert.isTrue(a.destroyed)
    }).pipe(server())
  )
})

describe("a connection that is closed", () => {
  it.effect("is read on while the client sends, so that no reset overtakes the last words", () =>
    Effect.gen(function* () {
      const [a, b] = (yield* connect(2)) as [MemorySocket, MemorySocket]
      assert.deepStrictEqual(yield* say(a, "QUIT"), ["BYE quit"])
      for (let i = 0; i < 3; i++) {
        yield* TestClock.adjust("499 millis")
        a.send("EXEC 1 still talking\n")
        yield* settled
        assert.isFalse(a.destroyed)
      }
      yield* TestClock.adjust("500 millis")
      yield* settled
      assert.isTrue(a.destroyed)
      assert.deepStrictEqual(b.lines(), ["RANK 0 1 3 m2"])
    }).pipe(server())
  )

  it.effect("is cut off after two seconds, however much the client sends", () =>
    Effect.gen(function* () {
      const [a] = (yield* connect(1)) as [MemorySocket]
      yield* say(a, "QUIT")
      for (let i = 0; i < 20; i++) {
        assert.isFalse(a.destroyed)
        yield* TestClock.adjust("100 millis")
        a.send("x")
        yield* settled
      }
      assert.isTrue(a.destroyed)
    }).pipe(server())
  )

  it.effect("is not cut off before the client, who has ended its side, has been sent the answers", () =>
    Effect.gen(function* () {
      const [a] = (yield* connect(1)) as [MemorySocket]
      a.reading = false
      a.send("PING 1\n")
      a.close()
      yield* TestClock.adjust("1 second")
      yield* settled
      assert.isFalse(a.destroyed)
      a.resume()
      yield* TestClock.adjust("5 millis")
      yield* settled
      assert.isTrue(a.destroyed)
      assert.deepStrictEqual(a.lines(), ["PONG 1"])
    }).pipe(server())
  )
})

describe("announcing ranks", () => {
  it.effect("tells the successor at once, the others in one sweep, and each before a command that relies on it", () =>
    Effect.gen(function* () {
      const clients = yield* connect(6)
      const lines = (index: number) => clients[index]!.lines()
      clients[0]!.close()
      yield* settled
      assert.deepStrictEqual(
        clients.slice(1).map((client) => client.lines()),
        [["RANK 0 5 7 m2"], ["RANK 1 5 7 m3"], ["RANK 2 5 7 m4"], ["RANK 3 5 7 m5"], ["RANK 4 5 7 m6"]]
      )
      // While the sweep rests, only who must know is told.
      clients[1]!.close()
      yield* settled
      assert.deepStrictEqual([lines(2), lines(3), lines(4), lines(5)], [["RANK 0 4 8 m3"], [], [], []])
      assert.deepStrictEqual(yield* say(clients[2]!, "EXEC 2 x"), [])
      assert.deepStrictEqual([lines(3), lines(4), lines(5)], [[], ["RANK 2 4 8 m5", "EXEC 0 x"], []])
      assert.deepStrictEqual(yield* say(clients[3]!, "EXEC 1 x"), ["RANK 1 4 8 m4", "ERROR 1 rank too high"])
      yield* TestClock.adjust("20 millis")
      yield* settled
      assert.deepStrictEqual([lines(2), lines(3), lines(4), lines(5)], [[], [], [], ["RANK 3 4 8 m6"]])
    }).pipe(server())
  )

  it.live(
    "costs each of 4,000 who stay a few lines when 1,000 of 5,000 leave at the same moment",
    () =>
      Effect.gen(function* () {
        const network = yield* Network
        const clients: Array<MemorySocket> = []
        yield* Effect.forEach(Array.from({ length: 100 }), () =>
          Effect.map(
            Effect.all(
              Array.from({ length: 50 }, () => network.connect),
              { concurrency: "unbounded" }
            ),
            (sockets) => clients.push(...sockets)
          )
        )
        const told = clients.map((client) => client.lines())
        const rankNow = (line: string) => Number(line.split(" ")[1])
        assert.deepStrictEqual(
          told.map((lines) => rankNow(lines.at(-1)!)),
          clients.map((_, rank) => rank)
        )
        const stays = clients.filter((_, rank) => rank % 5 !== 0)
        for (const [rank, client] of clients.entries()) if (rank % 5 === 0) client.close()
        // Ended is the burst when a question to the last is answered after its last rank.
        let last: ReadonlyArray<string> = []
        const lines = stays.map(() => [] as Array<string>)
        while (last.at(-1) !== "PONG end" || rankNow(lines.at(-1)!.at(-1) ?? "RANK -1") !== 3999) {
          last = yield* say(stays.at(-1)!, "PING end")
          for (const [i, client] of stays.entries())
            lines[i]!.push(
              ...(i === stays.length - 1 ? last : client.lines()).filter((line) => line.startsWith("RANK"))
            )
        }
        yield* Effect.sleep("200 millis")
        for (const [i, client] of stays.entries()) lines[i]!.push(...client.lines())
        for (const [rank, its] of lines.entries()) {
          assert.isAtLeast(its.length, 1)
          assert.isAtMost(its.length, 5)
          assert.strictEqual(rankNow(its.at(-1)!), rank)
        }
      }).pipe(server({ maxClients: 5000 })),
    60_000
  )
})

describe("a client that does not read", () => {
  const KIB = "x".repeat(1017)
  const limits = { maxPending: 262_144 }

  it.effect("holds its issuers up for half a second at most, and is closed as a slow consumer", () =>
    Effect.gen(function* () {
      const [a, slow, c] = (yield* connect(3)) as [MemorySocket, MemorySocket, MemorySocket]
      slow.reading = false
      a.send(`EXEC @m2 ${KIB}\n`.repeat(200))
      a.send("PING done\n")
      yield* settled
      // Held: half of the bound waits, and the issuer's next line is not done.
      assert.deepStrictEqual(a.lines(), [])
      assert.isBelow(slow.unread, limits.maxPending)
      // Others are not.
      assert.deepStrictEqual(yield* say(c, "PING"), ["PONG"])
      yield* TestClock.adjust("499 millis")
      yield* settled
      assert.deepStrictEqual(a.lines(), [])
      yield* TestClock.adjust("1 millis")
      yield* settled
      assert.deepStrictEqual(a.lines(), ["PONG done"])
      // No second time: the rest of the bound fills, and then it is over.
      a.send(`EXEC @m2 ${KIB}\n`.repeat(100))
      const [busy, ...gone] = yield* saysAtLast(a, "PING end", "PONG end")
      assert.strictEqual(busy, "ERROR 0 busy: not delivered to 1 of 1: being closed, or absent")
      assert.deepStrictEqual([...new Set(gone)], ["ERROR 0 no such member"])
      assert.deepStrictEqual(c.lines(), ["RANK 1 2 500000 m3"])
      // What was accepted for it is still there for a while, for it to read.
      const accepted = 300 - 1 - gone.length
      slow.resume()
      yield* settled
      const last = slow.lines()
      assert.strictEqual(last.filter((line) => line.startsWith("EXEC")).length, accepted)
      assert.strictEqual(last.at(-1), "BYE slow consumer")
      yield* TestClock.adjust("2 seconds")
      yield* settled
      assert.isTrue(slow.destroyed)
    }).pipe(server(limits))
  )

  it.effect("holds its issuers up no longer when there are several of it", () =>
    Effect.gen(function* () {
      const clients = yield* connect(12)
      const [a, reader] = [clients[0]!, clients[11]!]
      for (const deaf of clients.slice(1, 11)) deaf.reading = false
      a.send(`EXEC 1-10 ${KIB}\n`.repeat(200))
      a.send("EXEC 11 done\n")
      yield* TestClock.adjust("499 millis")
      yield* settled
      assert.deepStrictEqual(reader.lines(), [])
      yield* TestClock.adjust("1 millis")
      yield* settled
      assert.deepStrictEqual(reader.lines(), ["EXEC 0 done"])
    }).pipe(server(limits))
  )

  it.effect("is not closed for what it has made up for", () =>
    Effect.gen(function* () {
      const [a, slow] = (yield* connect(2)) as [MemorySocket, MemorySocket]
      slow.reading = false
      yield* say(a, ...Array.from({ length: 20 }, () => `EXEC 1 ${KIB}`))
      yield* TestClock.adjust("9 seconds")
      slow.resume()
      yield* settled
      yield* TestClock.adjust("1 minute")
      yield* settled
      assert.strictEqual(slow.lines().length, 20)
      assert.deepStrictEqual(yield* say(slow, "PING"), ["PONG"])
    }).pipe(server(limits))
  )

  it.effect("slows its issuers down, and is not closed, when it reads at last", () =>
    Effect.gen(function* () {
      const [a, slow] = (yield* connect(2)) as [MemorySocket, MemorySocket]
      let received = 0
      a.send(`EXEC 1 ${KIB}\n`.repeat(1000))
      a.send("PING done\n")
      slow.reading = false
      for (let answered = false; !answered; answered = a.lines().includes("PONG done")) {
        slow.resume()
        yield* settled
        slow.reading = false
        received += slow.lines().length
        yield* TestClock.adjust("100 millis")
        yield* settled
      }
      slow.resume()
      yield* settled
      assert.strictEqual(received + slow.lines().length, 1000)
      assert.deepStrictEqual(yield* say(slow, "PING"), ["PONG"])
    }).pipe(server(limits))
  )

  it.effect("is closed when it has not read for ten seconds, however little waits", () =>
    Effect.gen(function* () {
      const [a, slow] = (yield* connect(2)) as [MemorySocket, MemorySocket]
      yield* say(a, "WATCH")
      slow.reading = false
      yield* say(a, ...Array.from({ length: 17 }, () => `EXEC 1 ${KIB}`), "EXEC 1 last")
      yield* TestClock.adjust("9999 millis")
      yield* settled
      assert.deepStrictEqual(a.lines(), [])
      yield* TestClock.adjust("1 millis")
      yield* settled
      assert.deepStrictEqual(a.lines(), ["LEFT 1 m2 slow consumer"])
      // It may still read what it was told last.
      slow.resume()
      yield* settled
      assert.deepStrictEqual(slow.lines().slice(-1), ["BYE slow consumer"])
    }).pipe(server(limits))
  )

  it.effect("waits itself, and costs nothing, when it asks and asks and does not read", () =>
    Effect.gen(function* () {
      const clients = yield* connect(150)
      const [greedy, next] = clients as [MemorySocket, MemorySocket]
      greedy.reading = false
      greedy.send(`${"RANKS\nWATCH\n".repeat(5)}EXEC 1 last\n`)
      yield* settled
      // What it said after a question is not done before it has read the answer.
      assert.deepStrictEqual(next.lines(), [])
      greedy.send("RANKS\nWATCH\n".repeat(100))
      yield* settled
      assert.isBelow(greedy.unread, 65_536 + 16_384)
      clients[149]!.close()
      yield* settled
      const lines: Array<string> = []
      const ends = () => lines.filter((line) => line.startsWith("END")).length
      for (let turn = 0; turn < 20_000 && ends() < 210; turn++) {
        greedy.resume()
        yield* settled
        greedy.reading = false
        lines.push(...greedy.lines())
      }
      assert.strictEqual(ends(), 210)
      assert.deepStrictEqual(next.lines(), ["EXEC 0 last"])
      // A listing is of one moment, whatever happens while it is read.
      assert.strictEqual(
        lines.findIndex((line) => line.startsWith("END")),
        150
      )
    }).pipe(server(limits))
  )

  it.effect("does not keep the server from stopping, and nobody is promoted by the stop", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const [a, slow, c] = (yield* connect(3)) as [MemorySocket, MemorySocket, MemorySocket]
      yield* say(c, "WATCH")
      slow.reading = false
      yield* say(a, ...Array.from({ length: 20 }, () => `EXEC 1 ${KIB}`))
      const stop = yield* Effect.forkChild(network.stop)
      yield* settled
      assert.deepStrictEqual(a.lines(), ["BYE shutting down"])
      assert.deepStrictEqual(c.lines(), ["BYE shutting down"])
      assert.isTrue(c.ended)
      a.close()
      c.close()
      yield* TestClock.adjust("1999 millis")
      yield* settled
      assert.isUndefined(stop.pollUnsafe())
      const late = yield* network.connect
      assert.deepStrictEqual(late.lines(), ["ERROR - shutting down"])
      late.close()
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(stop)
      assert.isTrue(slow.destroyed)
    }).pipe(server(limits))
  )
})
