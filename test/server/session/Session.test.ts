import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import type { MemorySocket } from "../../support/MemorySocket.ts"
import { connect, Network, passes, say, server, settled } from "../../support/memoryServer.ts"
import { transcript } from "../../support/transcript.ts"

describe("a session", () => {
  it.effect("begins with the client's rank, the size of the group, the epoch and the client's id", () =>
    transcript(`
      a  RANK 0 1 1 m1
      -- 1 hour
      b  RANK 1 2 3600000000 m2
      c  RANK 2 3 3600000001 m3
    `).pipe(server())
  )

  it.effect("passes commands down, and never up or to the issuer itself", () =>
    transcript(`
      a b c> connect
      a> EXEC 1 uptime
      a> EXEC 2 ls -l${"  "}
      b  EXEC 0 uptime
      c  EXEC 0 ls -l${"  "}
      b> EXEC 2 x
      b> EXEC 1 x
      b> EXEC 0 x
      b> EXEC 3 x
      b  ERROR 1 rank too high
      b  ERROR 1 rank too high
      b  ERROR 1 no such rank
      c  EXEC 1 x
      a  (nothing)
      a> EXEC 1 before
      a> YIELD
      a> EXEC 0 after
      a  RANK 2 3 4 m1
      a  ERROR 2 rank too high
      b  EXEC 0 before
      b  RANK 0 3 4 m2
      c  RANK 1 3 4 m3
    `).pipe(server())
  )

  it.effect("reaches a range, everyone below, a name and a member id, and rejects a range as a whole", () =>
    transcript(`
      a b c d e> connect
      d> NAME dora
      d  NAMED 3 m4 dora
      a> EXEC 1-2 x
      b c  EXEC 0 x
      a> EXEC * x
      b c d e  EXEC 0 x
      a> EXEC @dora x
      d  EXEC 0 x
      a> EXEC @m5 x
      e  EXEC 0 x
      b> EXEC 1-3 x
      b> EXEC 0-9 x
      b> EXEC 2-5 x
      b> EXEC @nobody x
      b> EXEC @m99 x
      b> EXEC @m1 x
      b  ERROR 1 rank too high
      b  ERROR 1 rank too high
      b  ERROR 1 no such rank
      b  ERROR 1 no such member
      b  ERROR 1 no such member
      b  ERROR 1 rank too high
      e> EXEC * x
      e  ERROR 4 nobody below
      a b c d e  (nothing)
      b> EXPLAIN 2-3
      b> EXPLAIN *
      b> EXPLAIN @dora
      b> EXPLAIN 0
      b> EXPLAIN 5-6
      b  TARGETS 2 2:m3 3:m4
      b  TARGETS 3 2:m3 3:m4 4:m5
      b  TARGETS 1 3:m4
      b  ERROR 1 rank too high
      b  ERROR 1 no such rank
    `).pipe(server())
  )

  it.effect("answers every line, and a wrong one with an error", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      yield* transcript(
        `
          a> NAME boss
          a> NAME boss
          a> RANKS
          a  NAMED 0 m1 boss
          a  NAMED 0 m1 boss
          a  MEMBER 0 m1 boss unknown
          a  MEMBER 1 m2 - unknown
          a  END 2 2
          b> NAME boss
          b> NAME m3
          b> PING
          b> ping  a b
          b> PONG
          b> FROB
          b> EXEC 1
          b>
          b> UNWATCH
          b> PONG x
          b  ERROR 1 name taken
          b  ERROR 1 malformed: expected a name: 1-64 of A-Z a-z 0-9 . _ -, not like a member id, not a lone -
          b  PONG
          b  PONG  a b
          b  ERROR 1 unknown command: try HELP
          b  ERROR 1 malformed: write EXEC[#<id>] <to> <command>
        `,
        { a, b }
      )
      assert.isAbove((yield* say(b, "HELP")).length, 10)
      yield* transcript("b> QUIT\nb> RANKS\nb  BYE quit\nb  (closed)", { b })
      b.close()
      yield* settled
      assert.isTrue(b.destroyed)
    }).pipe(server())
  )

  it.effect("sends watchers the list and then every change, until UNWATCH", () =>
    transcript(`
      a b> connect
      b> WATCH
      b  MEMBER 0 m1 - unknown
      b  MEMBER 1 m2 - unknown
      b  END 2 2
      c> connect
      c  RANK 2 3 3 m3
      b  JOINED 2 m3
      c> NAME carl
      b c  NAMED 2 m3 carl
      a> YIELD
      a  RANK 2 3 4 m1
      b  MOVED 0 2 m1
      b  RANK 0 3 4 m2
      c  RANK 1 3 4 m3
      b> NAME bea
      b  NAMED 0 m2 bea
      a> YIELD
      a  RANK 2 3 5 m1
      c> QUIT
      c  BYE quit
      b  LEFT 1 m3 quit
      a> (end)
      b  LEFT 1 m1 closed
      d> connect
      d  RANK 1 2 8 m4
      b  JOINED 1 m4
      d> (reset)
      b  LEFT 1 m4 reset
      b> UNWATCH
      e> connect
      e  RANK 1 2 10 m5
    `).pipe(server())
  )

  it.effect("is refused if the group is full; when a seat becomes free, the next client gets it", () =>
    transcript(`
      a b> connect
      refused> connect
      refused> EXEC 0 x
      refused> RANKS
      refused  ERROR - server full
      refused  (closed)
      a> (end)
      b  RANK 0 1 3 m2
      c  RANK 1 2 4 m3
    `).pipe(server({ maxClients: 2 }))
  )

  it.effect("ends at a line that is too long, with an error", () =>
    Effect.gen(function* () {
      const [a, b, c, d] = yield* connect(4)
      const exec = (length: number) => `EXEC 3 ${"x".repeat(length - 7)}`
      assert.deepStrictEqual(yield* say(a, exec(999)), [])
      assert.deepStrictEqual(d.lines(), [`EXEC 0 ${"x".repeat(992)}`])
      assert.deepStrictEqual(yield* say(a, exec(1000)), ["ERROR 0 line too long"])
      assert.isTrue(a.ended)
      // An unfinished line can be too long, too.
      b.send("y".repeat(1000))
      yield* settled
      assert.deepStrictEqual(b.lines().slice(-1), ["ERROR 0 line too long"])
      // The server executes nothing more for either, and discards what they still send.
      yield* say(c, "PING")
      a.send("EXEC * late\n")
      b.send("\nEXEC * late\n")
      yield* settled
      assert.deepStrictEqual(c.lines(), [])
    }).pipe(server({ maxLine: 1000 }))
  )

  it.effect("continues after a command that would be too long for the target", () =>
    Effect.gen(function* () {
      const clients = yield* connect(12)
      const [tenth, last] = [clients[10], clients[11]]
      const command = (line: number) => "x".repeat(line - "EXEC * \n".length)
      assert.deepStrictEqual(yield* say(tenth, `EXEC * ${command(599)}`), [])
      assert.deepStrictEqual(last.lines(), [`EXEC 10 ${command(599)}`])
      assert.deepStrictEqual(yield* say(tenth, `EXEC * ${command(600)}`, "PING"), [
        "ERROR 10 malformed: a target's line would have more than 600 bytes",
        "PONG"
      ])
    }).pipe(server({ maxLine: 600 }))
  )

  it.effect("accepts only UTF-8 without control characters", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      const malformed = "ERROR 0 malformed: a line is UTF-8 without control characters"
      yield* say(a, "PING")
      for (const bytes of [
        "\xff",
        "EXEC 1 \xc3",
        "EXEC 1 \xed\xa0\x80",
        "EXEC 1 \xc0\xaf",
        "PING \0",
        "EXEC 1 a\rb",
        "\x1b[2J",
        "\x7f",
        "EXEC 1 \xc2\x9b2J",
        "PING \xc2\x80",
        "RESULT#1 0 \xc2\x9f"
      ]) {
        a.send(Buffer.from(`${bytes}\n`, "latin1"))
        yield* settled
        assert.deepStrictEqual(a.lines(), [malformed], JSON.stringify(bytes))
      }
      assert.deepStrictEqual(yield* say(a, "EXEC 1 tab\tund \u00fcml\u00e4ut\u00a0\u{1f600}\r"), [])
      assert.deepStrictEqual(b.lines(), ["EXEC 0 tab\tund \u00fcml\u00e4ut\u00a0\u{1f600}"])
    }).pipe(server())
  )

  it.effect("does the same at any split of the bytes", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      for (const byte of Buffer.from("exec 1 \u{1f600}!\r\nPING x\n")) {
        a.send(Uint8Array.of(byte))
        yield* settled
      }
      assert.deepStrictEqual(a.lines(), ["PONG x"])
      assert.deepStrictEqual(b.lines(), ["EXEC 0 \u{1f600}!"])
    }).pipe(server())
  )

  it.effect("ends if the connection breaks in the middle of a line, and the ranks close up", () =>
    Effect.gen(function* () {
      const [a, b, c] = yield* connect(3)
      a.send("EXEC 1 rm -rf")
      yield* settled
      yield* transcript("a> (reset)\nb  RANK 0 2 4 m2\nc  RANK 1 2 4 m3", { a, b, c })
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

describe("a connection that the server closes", () => {
  it.effect("stays open while the client sends, so that no reset overtakes the last line", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      assert.deepStrictEqual(yield* say(a, "QUIT"), ["BYE quit"])
      for (let i = 0; i < 3; i++) {
        yield* passes("499 millis")
        yield* say(a, "EXEC 1 still talking")
        assert.isFalse(a.destroyed)
      }
      yield* passes("500 millis")
      assert.isTrue(a.destroyed)
      assert.deepStrictEqual(b.lines(), ["RANK 0 1 3 m2"])
    }).pipe(server())
  )

  it.effect("is cut after two seconds, however much the client sends", () =>
    Effect.gen(function* () {
      const [a] = yield* connect(1)
      yield* say(a, "QUIT")
      for (let i = 0; i < 20; i++) {
        assert.isFalse(a.destroyed)
        yield* passes("100 millis")
        a.send("x")
        yield* settled
      }
      assert.isTrue(a.destroyed)
    }).pipe(server())
  )

  it.effect("is not cut before a client that has ended its side has received its answers", () =>
    Effect.gen(function* () {
      const [a] = yield* connect(1)
      a.reading = false
      a.send("PING 1\n")
      a.close()
      yield* passes("1 second")
      assert.isFalse(a.destroyed)
      a.resume()
      yield* passes("5 millis")
      assert.isTrue(a.destroyed)
      assert.deepStrictEqual(a.lines(), ["PONG 1"])
    }).pipe(server())
  )
})

describe("a new rank", () => {
  it.effect("reaches the new rank 0 at once, the others in one sweep, and each target before a command", () =>
    transcript(`
      a b c d e f> connect
      a> (end)
      b  RANK 0 5 7 m2
      c  RANK 1 5 7 m3
      d  RANK 2 5 7 m4
      e  RANK 3 5 7 m5
      f  RANK 4 5 7 m6
      # While the sweep rests, only those that must know hear of a change.
      b> (end)
      c  RANK 0 4 8 m3
      d e f  (nothing)
      c> EXEC 2 x
      e  RANK 2 4 8 m5
      e  EXEC 0 x
      c d f  (nothing)
      d> EXEC 1 x
      d  RANK 1 4 8 m4
      d  ERROR 1 rank too high
      -- 20 millis
      f  RANK 3 4 8 m6
      c d e  (nothing)
    `).pipe(server())
  )

  it.live("reaches each of 4,000 members in a few lines when 1,000 others leave at the same moment", () =>
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
      const rankNow = (line: string | undefined) => Number(line?.split(" ")[1])
      assert.deepStrictEqual(
        clients.map((client) => rankNow(client.lines().at(-1))),
        clients.map((_, rank) => rank)
      )
      const stays = clients.filter((_, rank) => rank % 5 !== 0)
      for (const [rank, client] of clients.entries()) if (rank % 5 === 0) client.close()
      const lines = stays.map(() => [] as Array<string>)
      const hear = Effect.map(settled, () => {
        for (const [i, client] of stays.entries()) lines[i]!.push(...client.lines())
      })
      yield* hear
      // The last sweeps rest for milliseconds of real time.
      while (lines.some((its, rank) => rankNow(its.at(-1)) !== rank)) {
        yield* Effect.sleep("20 millis")
        yield* hear
      }
      yield* Effect.sleep("100 millis")
      yield* hear
      for (const [rank, its] of lines.entries()) {
        assert.isAtMost(its.length, 5)
        assert.strictEqual(rankNow(its.at(-1)), rank)
      }
    }).pipe(server({ maxClients: 5000 }))
  )
})

describe("a client that does not read", () => {
  const KIB = "x".repeat(1017)
  const limits = { maxPending: 262_144 }

  it.effect("delays its issuers for half a second at most, and is disconnected as a slow consumer", () =>
    Effect.gen(function* () {
      const [a, slow, c] = yield* connect(3)
      slow.reading = false
      a.send(`EXEC @m2 ${KIB}\n`.repeat(200))
      a.send("PING done\n")
      yield* settled
      // Congested: half of the limit waits, and the server does not execute the issuer's next line.
      assert.deepStrictEqual(a.lines(), [])
      assert.isBelow(slow.unread, limits.maxPending)
      // Others do not wait.
      assert.deepStrictEqual(yield* say(c, "PING"), ["PONG"])
      yield* passes("499 millis")
      assert.deepStrictEqual(a.lines(), [])
      yield* passes("1 millis")
      assert.deepStrictEqual(a.lines(), ["PONG done"])
      // Issuers wait only once: the rest of the limit fills, and then the client is disconnected.
      a.send(`EXEC @m2 ${KIB}\n`.repeat(100))
      const heard = yield* say(a, "PING end")
      assert.strictEqual(heard.pop(), "PONG end")
      const [busy, ...gone] = heard
      assert.strictEqual(busy, "ERROR 0 busy: not delivered to 1 of 1: being closed, or absent")
      assert.deepStrictEqual([...new Set(gone)], ["ERROR 0 no such member"])
      assert.deepStrictEqual(c.lines(), ["RANK 1 2 500000 m3"])
      // For a while, the client may still read the accepted bytes.
      const accepted = 300 - 1 - gone.length
      slow.resume()
      yield* settled
      const last = slow.lines()
      assert.strictEqual(last.filter((line) => line.startsWith("EXEC")).length, accepted)
      assert.strictEqual(last.at(-1), "BYE slow consumer")
      yield* passes("2 seconds")
      assert.isTrue(slow.destroyed)
    }).pipe(server(limits))
  )

  it.effect("delays its issuers for no longer if several do not read", () =>
    Effect.gen(function* () {
      const [a, ...others] = yield* connect(12)
      const reader = others[10]
      for (const deaf of others.slice(0, 10)) deaf.reading = false
      a.send(`EXEC 1-10 ${KIB}\n`.repeat(200))
      a.send("EXEC 11 done\n")
      yield* passes("499 millis")
      assert.deepStrictEqual(reader.lines(), [])
      yield* passes("1 millis")
      assert.deepStrictEqual(reader.lines(), ["EXEC 0 done"])
    }).pipe(server(limits))
  )

  it.effect("is not disconnected if it reads again in time", () =>
    Effect.gen(function* () {
      const [a, slow] = yield* connect(2)
      slow.reading = false
      yield* say(a, ...Array.from({ length: 20 }, () => `EXEC 1 ${KIB}`))
      yield* TestClock.adjust("9 seconds")
      slow.resume()
      yield* settled
      yield* passes("1 minute")
      assert.strictEqual(slow.lines().length, 20)
      assert.deepStrictEqual(yield* say(slow, "PING"), ["PONG"])
    }).pipe(server(limits))
  )

  it.effect("slows its issuers down, and is not disconnected, while it reads now and then", () =>
    Effect.gen(function* () {
      const [a, slow] = yield* connect(2)
      let received = 0
      a.send(`EXEC 1 ${KIB}\n`.repeat(1000))
      a.send("PING done\n")
      slow.reading = false
      for (let answered = false; !answered; answered = a.lines().includes("PONG done")) {
        slow.resume()
        yield* settled
        slow.reading = false
        received += slow.lines().length
        yield* passes("100 millis")
      }
      slow.resume()
      yield* settled
      assert.strictEqual(received + slow.lines().length, 1000)
      assert.deepStrictEqual(yield* say(slow, "PING"), ["PONG"])
    }).pipe(server(limits))
  )

  it.effect("is disconnected if it has not read for ten seconds, even if few bytes wait", () =>
    Effect.gen(function* () {
      const [a, slow] = yield* connect(2)
      yield* say(a, "WATCH")
      slow.reading = false
      yield* say(a, ...Array.from({ length: 17 }, () => `EXEC 1 ${KIB}`), "EXEC 1 last")
      yield* passes("9999 millis")
      assert.deepStrictEqual(a.lines(), [])
      yield* passes("1 millis")
      assert.deepStrictEqual(a.lines(), ["LEFT 1 m2 slow consumer"])
      // It may still read the reason.
      slow.resume()
      yield* settled
      assert.deepStrictEqual(slow.lines().slice(-1), ["BYE slow consumer"])
    }).pipe(server(limits))
  )

  it.effect("waits itself, and costs nothing, if it sends requests without reading the answers", () =>
    Effect.gen(function* () {
      const clients = yield* connect(150)
      const [greedy, next] = clients
      greedy.reading = false
      greedy.send(`${"RANKS\nWATCH\n".repeat(5)}EXEC 1 last\n`)
      yield* settled
      // The server executes the next line only after the client has read the answer.
      assert.deepStrictEqual(next.lines(), [])
      greedy.send("RANKS\nWATCH\n".repeat(100))
      yield* settled
      assert.isBelow(greedy.unread, 65_536 + 16_384)
      clients[149]!.close()
      yield* settled
      const lines: Array<string> = []
      const ends = () => lines.filter((line) => line.startsWith("END")).length
      while (ends() < 210) {
        greedy.resume()
        yield* settled
        greedy.reading = false
        lines.push(...greedy.lines())
      }
      assert.deepStrictEqual(next.lines(), ["EXEC 0 last"])
      // A list shows one moment, whatever happens while the client reads it.
      assert.strictEqual(
        lines.findIndex((line) => line.startsWith("END")),
        150
      )
    }).pipe(server(limits))
  )

  it.effect("does not keep the server from stopping, and the stop promotes no client", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const [a, slow, c] = yield* connect(3)
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
      yield* passes("1999 millis")
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
