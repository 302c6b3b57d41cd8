import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import type { Tuple } from "../support/tuple.ts"
import { client, Port, serverLayer, type WireClient } from "../support/wire.ts"

const isRank = (line: string) => line.startsWith("RANK")

/** Connects clients, in the order of their ranks, and waits for their ranks. */
const clients = <const N extends number>(count: N): Effect.Effect<Tuple<WireClient, N>, never, Port | Scope.Scope> =>
  Effect.forEach(Array.from({ length: count }), () => Effect.tap(client, (wire) => wire.until(isRank))).pipe(
    Effect.map((wires) => wires as Tuple<WireClient, N>)
  )

describe("the server, on real sockets", () => {
  it.live("gives a free seat to the next client, however its member left", () =>
    Effect.gen(function* () {
      const [first, ...others] = yield* clients(4)
      const ways: ReadonlyArray<(wire: WireClient) => unknown> = [
        ({ socket }) => socket.end(),
        ({ socket }) => socket.destroy(),
        ({ socket }) => socket.resetAndDestroy(),
        (wire) => wire.send("QUIT"),
        ({ socket }) => socket.end("EXEC 1 in the middle of a li")
      ]
      first!.send("WATCH")
      yield* first!.until((line) => line.startsWith("END"))
      for (const leave of ways) {
        assert.deepStrictEqual(yield* (yield* client).untilClosed, ["ERROR - server full"])
        leave(others.shift()!)
        yield* first!.until((line) => line.startsWith("LEFT 1 "))
        const next = yield* client
        assert.match((yield* next.until(isRank)).join(), /^RANK 3 4 [0-9]+ m[0-9]+$/)
        others.push(next)
      }
    }).pipe(Effect.scoped, Effect.provide(serverLayer({ maxClients: 4 })))
  )

  it.live("answers a script that ends its side before it reads", () =>
    Effect.gen(function* () {
      const wire = yield* client
      wire.socket.end("NAME script\nRANKS\nPING last\n")
      const lines = yield* wire.untilClosed
      assert.deepStrictEqual(
        lines.map((line) => line.split(" ", 1)[0]),
        ["RANK", "NAMED", "MEMBER", "END", "PONG"]
      )
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )

  it.live("sends a script that has ended its side the outcomes of its commands", () =>
    Effect.gen(function* () {
      const script = yield* client
      const [worker] = yield* clients(1)
      script.socket.end("EXEC#x 1 uptime\nEXEC#y 1 date\n")
      yield* worker.until((line) => line.startsWith("RANK 0 1 "))
      worker.send("RESULT#1 0 up 3 days")
      yield* script.until((line) => line === "RESULT#x 1 0 up 3 days")
      worker.send("OUTPUT#2 today", "RESULT#2 0")
      assert.deepStrictEqual(yield* script.untilClosed, ["OUTPUT#y 1 today", "RESULT#y 1 0"])
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )

  it.live("delivers its last line to a client that is still sending", () =>
    Effect.gen(function* () {
      // Closing a connection with unread bytes resets it, and the reset would overtake the last line.
      const wire = yield* client
      wire.socket.write("x".repeat(3_000_000))
      assert.deepStrictEqual((yield* wire.untilClosed).slice(1), ["ERROR 0 line too long"])
      const quitter = yield* client
      quitter.socket.write(`QUIT\n${"EXEC 1 x\n".repeat(300_000)}`)
      assert.deepStrictEqual((yield* quitter.untilClosed).slice(1), ["BYE quit"])
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )

  it.live("executes nothing for a browser", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const [target] = yield* clients(1)
      const request = Effect.tryPromise(() =>
        fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: "EXEC * rm\nNAME evil\n" })
      )
      yield* Effect.flip(request)
      target!.send("PING")
      assert.deepStrictEqual(yield* target!.until((line) => line.startsWith("PONG")), ["PONG"])
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )

  it.live("keeps each issuer's commands in order, whole and once, while ranks change", () =>
    Effect.gen(function* () {
      const [crown, a, b, target] = yield* clients(4)
      target.send("NAME target")
      yield* target.until((line) => line.startsWith("NAMED"))
      const count = 20_000
      const send = (issuer: WireClient, name: string) => {
        for (let i = 0; i < count; i += 100) {
          issuer.send(...Array.from({ length: 100 }, (_, j) => `EXEC @target ${name} ${i + j} \u00fc`))
        }
      }
      send(a, "a")
      send(b, "b")
      crown.send("QUIT")
      // These join and leave below the target.
      for (let i = 0; i < 50; i++) {
        const passer = yield* client
        yield* passer.until(isRank)
        passer.send("YIELD")
        yield* passer.until(isRank)
        passer.socket.resetAndDestroy()
      }
      const heard: Array<string> = []
      const commands = () => heard.filter((line) => line.startsWith("EXEC"))
      while (commands().length < 2 * count) {
        heard.push(...(yield* target.until((line) => line.startsWith("EXEC"))), ...target.heard.splice(0))
      }
      for (const name of ["a", "b"]) {
        assert.deepStrictEqual(
          commands()
            .map((line) => line.replace(/^EXEC [0-9] /, ""))
            .filter((command) => command.startsWith(name)),
          Array.from({ length: count }, (_, i) => `${name} ${i} \u00fc`)
        )
      }
      // Before the target gets its new rank, its issuers have their old ranks; after it, the new ones.
      const moved = heard.findIndex((line) => line.startsWith("RANK 2 "))
      const issuers = (lines: ReadonlyArray<string>, name: string) =>
        new Set(lines.filter((line) => line.startsWith(`${name} `, "EXEC 0 ".length)).map((line) => line.split(" ")[1]))
      assert.isAbove(moved, 0)
      for (const [rank, name] of ["a", "b"].entries()) {
        assert.isTrue([...issuers(heard.slice(0, moved), name)].every((issuer) => issuer === `${rank + 1}`))
        assert.deepStrictEqual([...issuers(heard.slice(moved), name)], [`${rank}`])
      }
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )

  it.live("disconnects a client that does not read, and delays no other by more than a second", () =>
    Effect.gen(function* () {
      const [issuer, deaf, bystander] = yield* clients(3)
      deaf.socket.pause()
      const line = `EXEC @m2 ${"x".repeat(60_000)}`
      for (let i = 0; i < 400; i++) issuer.send(line)
      issuer.send("PING done")
      let slowest = 0
      let ended = false
      yield* Effect.forkChild(
        Effect.tap(
          issuer.until((line) => line === "PONG done"),
          () =>
            Effect.sync(() => {
              ended = true
            })
        )
      )
      while (!ended) {
        const start = Date.now()
        bystander.send("PING")
        yield* bystander.until((line) => line === "PONG")
        slowest = Math.max(slowest, Date.now() - start)
      }
      assert.isBelow(slowest, 1000)
      // It left the order at once, even if it still has bytes to read.
      bystander.send("RANKS")
      const listed = yield* bystander.until((line) => line.startsWith("END"))
      assert.isFalse(listed.some((line) => line.includes(" m2 ")))
      deaf.socket.resume()
      assert.isTrue(
        (yield* deaf.untilClosed).every(
          (line) => isRank(line) || line.startsWith("EXEC") || line === "BYE slow consumer"
        )
      )
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )

  it.live("keeps its promises under any interleaving of joins, departures, yields and commands", () =>
    Effect.gen(function* () {
      const DEADLINE = Date.now() + 3000
      const random = (below: number) => Math.floor(Math.random() * below)
      const stay = yield* clients(8)
      const issued = new Map<string, number>()
      let names = 0
      /** Until the deadline: sends random lines, and now and then disconnects and connects again. */
      const act = (wire: WireClient, name: string) =>
        Effect.gen(function* () {
          while (Date.now() < DEADLINE) {
            for (let i = random(20); i >= 0; i--) {
              const to = ["*", `${random(12)}`, `${random(5)}-${4 + random(8)}`][random(3)]
              issued.set(name, (issued.get(name) ?? 0) + 1)
              wire.send(`EXEC ${to} ${name} ${issued.get(name)}`)
            }
            if (random(10) === 0) wire.send("YIELD")
            yield* Effect.sleep(random(5))
          }
        })
      const passing = Effect.gen(function* () {
        while (Date.now() < DEADLINE) {
          yield* Effect.scoped(
            Effect.gen(function* () {
              const wire = yield* client
              const name = `p${++names}`
              wire.send(`EXEC * ${name} 1`, "YIELD", `EXEC 0 ${name} 2`)
              yield* Effect.sleep(random(10))
              if (random(2) === 0) wire.socket.resetAndDestroy()
            })
          )
        }
      })
      yield* Effect.all([...stay.map((wire, i) => act(wire, `s${i}`)), passing, passing, passing], {
        concurrency: "unbounded"
      })
      stay[0]!.send("PING")
      yield* stay[0]!
        .until((line) => line === "PONG")
        .pipe(Effect.tap((lines) => Effect.sync(() => stay[0]!.heard.unshift(...lines))))
      for (const [i, wire] of stay.entries()) {
        wire.send("PING end")
        const heard = yield* wire.until((line) => line === "PONG end")
        let rank = i
        let epoch = 0
        const last = new Map<string, number>()
        for (const line of heard) {
          const [verb, first, second = "", third] = line.split(" ")
          if (verb === "RANK") {
            assert.isAbove(Number(third), epoch, "an epoch that runs backwards")
            rank = Number(first)
            epoch = Number(third)
          } else if (verb === "EXEC") {
            assert.isBelow(Number(first), rank, `a command from below: ${line}`)
            assert.isAbove(Number(third), last.get(second) ?? 0, `out of order, or twice: ${line}`)
            last.set(second, Number(third))
          }
        }
      }
      // In the end the ranks are dense.
      stay[0]!.send("RANKS")
      const listed = yield* stay[0]!.until((line) => line.startsWith("END"))
      const members = listed.filter((line) => line.startsWith("MEMBER"))
      assert.deepStrictEqual(
        members.map((line) => Number(line.split(" ")[1])),
        members.map((_, rank) => rank)
      )
      assert.isAbove(Math.min(...issued.values()), 100)
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )

  it.live("answers every client while others flood it", () =>
    Effect.gen(function* () {
      const [bystander, ...flooders] = yield* clients(17)
      for (const [i, { socket }] of flooders.entries()) {
        const line = ["NAME a\n", "YIELD\n", "no verb\n", "HELP\n"][i % 4]!
        const flood = () => {
          if (socket.write(line.repeat(5000))) setImmediate(flood)
          else socket.once("drain", flood)
        }
        flood()
        socket.resume()
      }
      let slowest = 0
      for (let i = 0; i < 100; i++) {
        const start = Date.now()
        bystander.send("PING")
        yield* bystander.until((line) => line === "PONG")
        slowest = Math.max(slowest, Date.now() - start)
      }
      assert.isBelow(slowest, 1000)
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )

  it.live("sends each remaining member a few lines when 200 of 1,000 leave at the same moment", () =>
    Effect.gen(function* () {
      const all = yield* clients(1000)
      const stay = all.filter((_, rank) => rank % 5 !== 0)
      for (const [rank, { socket }] of all.entries()) if (rank % 5 === 0) socket.resetAndDestroy()
      const rankOf = (line: string | undefined) => Number(line?.split(" ")[1])
      yield* stay.at(-1)!.until((line) => rankOf(line) === 799)
      yield* Effect.forEach(stay, (wire, rank) =>
        Effect.gen(function* () {
          wire.send("PING")
          const heard = yield* wire.until((line) => line === "PONG")
          // The last has taken some of its lines already.
          if (wire === stay.at(-1)) return
          assert.strictEqual(rankOf(heard.at(-2)), rank)
          assert.isAtMost(heard.length - 1, 5)
        })
      )
    }).pipe(Effect.scoped, Effect.provide(serverLayer({ maxClients: 1000 })))
  )

  it.live("loses no seat when a thousand clients connect and disconnect", () =>
    Effect.gen(function* () {
      for (let round = 0; round < 20; round++) {
        yield* Effect.forEach(
          Array.from({ length: 50 }),
          (_, i) => Effect.scoped(Effect.tap(client, (wire) => (i % 2 === 0 ? wire.until(isRank) : Effect.void))),
          { concurrency: "unbounded" }
        )
      }
      // The server may not have processed the last departures yet. All seats are free when all can be taken.
      const all = yield* Effect.forEach(Array.from({ length: 50 }), () =>
        Effect.retry(
          Effect.flatMap(client, (wire) =>
            Effect.flatMap(
              wire.until(() => true),
              ([line]) => (isRank(line!) ? Effect.succeed(line!) : Effect.fail("full" as const))
            )
          ),
          { times: 100 }
        )
      )
      assert.strictEqual(all.length, 50)
    }).pipe(Effect.scoped, Effect.provide(serverLayer({ maxClients: 50 })))
  )
})
