/** Hostile and broken clients, in numbers: the cost for the server and for other clients. */
import { once } from "node:events"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, type Scope } from "effect"
import { descriptorsOf, memoryOf, npmStart, type Run, says, shell } from "../support/process.ts"
import { client, Port, serverLayer, type WireClient } from "../support/wire.ts"

const MEBIBYTE = 1024 * 1024

const isRank = (line: string) => line.startsWith("RANK")

const ranked = (server: Run): Effect.Effect<WireClient, never, Scope.Scope> =>
  Effect.tap(server.connect, (wire) => wire.until(isRank))

const pid = (server: Run): number => server.child.pid!

/** The heap of a process that reads a gigabyte varies by so much. */
const HEAP = 32 * MEBIBYTE

/** Waits until the condition is true. */
const until = (what: string, holds: () => boolean) =>
  Effect.gen(function* () {
    while (!holds()) yield* Effect.sleep("10 millis")
  }).pipe(Effect.timeoutOrElse({ duration: "30 seconds", orElse: () => Effect.die(new Error(`not so: ${what}`)) }))

/** Writes everything, at the speed of the socket, or until the connection is closed. */
const pour = async ({ socket }: WireClient, chunk: string | Uint8Array, times: number): Promise<void> => {
  const closed = new AbortController()
  socket.once("close", () => closed.abort())
  for (let time = 0; time < times && !socket.destroyed; time++) {
    if (!socket.write(chunk)) await once(socket, "drain", { signal: closed.signal }).catch(() => {})
  }
}

/** Sends `PING` after `PING` on `wire` while `during` runs. Returns the times of the answers, the shortest first. */
const answered = <A>(wire: WireClient, during: Promise<A>) =>
  Effect.gen(function* () {
    let over = false
    during.finally(() => {
      over = true
    })
    const times: Array<number> = []
    while (!over) {
      const start = performance.now()
      wire.send("PING")
      yield* wire.until((line) => line === "PONG")
      times.push(performance.now() - start)
      yield* Effect.sleep("2 millis")
    }
    yield* Effect.promise(() => during)
    return times.sort((a, b) => a - b)
  })

const p99 = (sorted: ReadonlyArray<number>): number => sorted[Math.floor(sorted.length * 0.99)]!

/** The longest time for the slowest answer, in milliseconds. An idle machine is far below it. */
const SLOWEST = 1000

describe("clients that do not read", () => {
  it.live(
    "ten of them, sent a gigabyte, use ten times the limit at most and delay no other, and the ranks close up",
    () =>
      Effect.gen(function* () {
        const cap = 8 * MEBIBYTE
        const server = yield* npmStart(["--port", "0", "--max-pending", `${cap}`])
        const issuer = yield* ranked(server)
        const bystander = yield* ranked(server)
        const deaf: Array<WireClient> = []
        for (let i = 0; i < 10; i++) {
          const wire = yield* ranked(server)
          wire.send(`NAME d${i}`)
          yield* wire.until((line) => line.startsWith("NAMED"))
          deaf.push(wire)
        }
        const last = yield* ranked(server)
        // Reads once before the measurement, so that the memory for reading does not count.
        const command = "x".repeat(4000)
        yield* Effect.promise(() => pour(issuer, `EXEC @nobody ${"x".repeat(60_000)}\n`, 2000))
        issuer.send("PING warm")
        yield* issuer.until((line) => line === "PONG warm")
        for (const { socket } of deaf) socket.pause()
        const before = memoryOf(pid(server))
        let peak = 0
        const watching = setInterval(() => {
          peak = Math.max(peak, memoryOf(pid(server)))
        }, 20)
        const lines = Buffer.from(deaf.map((_, i) => `EXEC @d${i} ${command}\n`).join(""))
        const start = performance.now()
        const times = yield* answered(bystander, pour(issuer, lines, Math.ceil(1e9 / lines.length)))
        issuer.send("PING done")
        yield* issuer.until((line) => line === "PONG done")
        clearInterval(watching)
        yield* last.until((line) => line.startsWith("RANK 2 3 "))
        const report =
          `1 GB in ${((performance.now() - start) / 1000).toFixed(1)} s; ${times.length} others' PINGs: ` +
          `p99 ${p99(times).toFixed(1)} ms, slowest ${times.at(-1)!.toFixed(1)} ms; ` +
          `memory ${((peak - before) / MEBIBYTE).toFixed(0)} MiB more at most`
        yield* Effect.log(report)
        assert.isBelow(peak - before, 10 * cap + HEAP, report)
        assert.isBelow(p99(times), 300, report)
        assert.isBelow(times.at(-1)!, SLOWEST, report)
      }).pipe(Effect.scoped)
  )

  it.live.each(["nothing", "a byte a second"])(
    "one that reads %s is disconnected after the stall timeout, and delays no other by more than a second",
    (pace) =>
      Effect.gen(function* () {
        const issuer = yield* Effect.tap(client, (wire) => wire.until(isRank))
        const slow = yield* Effect.tap(client, (wire) => wire.until(isRank))
        const bystander = yield* Effect.tap(client, (wire) => wire.until(isRank))
        const watcher = yield* Effect.tap(client, (wire) => wire.until(isRank))
        watcher.send("WATCH")
        yield* watcher.until((line) => line.startsWith("END"))
        slow.socket.removeAllListeners("data").pause()
        const reading = setInterval(() => {
          if (pace !== "nothing") slow.socket.read(1)
        }, 1000)
        const start = performance.now()
        // More than the sockets buffer, and less than the server keeps.
        const sent = pour(issuer, `EXEC 1 ${"x".repeat(60_000)}\n`, 1000)
        const left = Effect.tap(
          watcher.until((line) => /^LEFT 1 m[0-9]+ slow consumer$/.test(line)),
          () => Effect.promise(() => sent)
        )
        const times = yield* answered(bystander, Effect.runPromise(left))
        clearInterval(reading)
        const after = performance.now() - start
        assert.isAbove(after, 2900)
        assert.isBelow(after, 6000)
        assert.isBelow(times.at(-1)!, SLOWEST)
      }).pipe(
        Effect.scoped,
        Effect.provide(serverLayer({ stallTimeout: Duration.seconds(3), maxPending: 256 * MEBIBYTE }))
      ),
    // Both tests mostly wait.
    { concurrent: true, timeout: 40_000 }
  )
})

describe("crowds", () => {
  it.live(
    "a thousand sockets that send a mebibyte without a newline are closed, use a line each, and delay no other",
    () =>
      Effect.gen(function* () {
        const server = yield* npmStart(["--port", "0", "--max-clients", "2000", "--log-level", "warn"])
        const bystander = yield* ranked(server)
        const idle = descriptorsOf(pid(server))
        const hostile = yield* Effect.forEach(Array.from({ length: 1000 }), () => ranked(server), { concurrency: 50 })
        const before = memoryOf(pid(server))
        // First exactly the limit: the server keeps no more than this.
        for (const { socket } of hostile) socket.write(Buffer.alloc(65_535, "x"))
        bystander.send("PING")
        yield* bystander.until((line) => line === "PONG")
        const mebibyte = Buffer.alloc(MEBIBYTE, "x")
        const all = Promise.all(hostile.map((wire) => pour(wire, mebibyte, 1)))
        const times = yield* answered(bystander, all)
        for (const wire of hostile) {
          const heard = yield* wire.untilClosed
          assert.match(heard.at(-1)!, /^ERROR [0-9]+ line too long$/)
        }
        const grown = memoryOf(pid(server)) - before
        yield* Effect.log(`slowest PING ${times.at(-1)!.toFixed(0)} ms, ${(grown / MEBIBYTE).toFixed(0)} MiB more`)
        assert.isBelow(times.at(-1)!, SLOWEST)
        // A line each, which grew by doubling, and the last chunk: the server keeps nothing else of the gigabyte.
        assert.isBelow(grown, 5 * 1000 * 65_536)
        yield* until("all descriptors are closed", () => descriptorsOf(pid(server)) <= idle)
        assert.strictEqual(server.stderr().includes("rror"), false, server.stderr())
      }).pipe(Effect.scoped)
  )

  it.live("more connections than descriptors: the server serves its members, logs the problem, and recovers", () =>
    Effect.gen(function* () {
      const server = yield* shell("exec prlimit --nofile=64 node --import tsx src/main.ts --port 0")
      const [first, second] = [yield* ranked(server), yield* ranked(server)]
      yield* says(
        server.stderr,
        /the limit of open files \(ulimit -n\) is 64: the server takes at most [0-9]+ connections/
      )
      const crowd = yield* Effect.forEach(Array.from({ length: 150 }), () => Effect.option(server.connect))
      const wires = crowd.flatMap((wire) => (wire._tag === "Some" ? [wire.value] : []))
      yield* until("each is served or turned away", () =>
        wires.every(({ closed, heard }) => closed || heard.length > 0)
      )
      assert.isTrue(wires.some(({ closed }) => closed))
      first.send("EXEC 1 still here")
      assert.strictEqual((yield* second.until((line) => line.startsWith("EXEC"))).at(-1), "EXEC 0 still here")
      for (const { socket } of wires) socket.destroy()
      first.send("RANKS")
      yield* first.until((line) => line.startsWith("END"))
      // When there is room again, a client that connects gets a rank.
      const next = yield* Effect.retry(
        Effect.flatMap(server.connect, (wire) =>
          Effect.flatMap(
            Effect.promise(async () => {
              while (!wire.closed && wire.heard.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
            }),
            () => (wire.heard.length > 0 ? Effect.succeed(wire) : Effect.fail("turned away" as const))
          )
        ),
        { times: 100 }
      )
      assert.match(next.heard[0]!, /^RANK /)
      assert.isFalse(server.ended())
    }).pipe(Effect.scoped)
  )
})

describe("a browser", () => {
  const body = "EXEC * rm\nEXEC 1 rm\nNAME evil\n"
  const requests = {
    "a form": `POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    "a path with lines in it": `GET /%0AEXEC%201%20rm HTTP/1.1\r\nX: y\nEXEC 1 rm\r\n\r\n`,
    "a WebSocket": `GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n${body}`,
    "a preflight": `OPTIONS / HTTP/1.1\r\n\r\n${body}`,
    "HTTP/2": `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${body}`,
    "a method of its own": `SEARCH / HTTP/1.1\r\nHost: localhost\r\n\r\n${body}`,
    "a request that a proxy announces": `PROXY TCP4 10.0.0.1 10.0.0.2 5 6\r\nGET / HTTP/1.1\r\n\r\n${body}`,
    TLS: Buffer.from("160301020001000100", "hex"),
    "a proxy's": `CONNECT localhost:5000 HTTP/1.1\r\n\r\n${body}`
  }

  it.live.each(Object.keys(requests) as Array<keyof typeof requests>)("runs nothing with %s", (name) =>
    Effect.gen(function* () {
      // The browser has a higher rank: its lines would reach the target if they were commands.
      const browser = yield* client
      yield* browser.until(isRank)
      const target = yield* client
      yield* target.until(isRank)
      browser.socket.write(requests[name])
      assert.deepStrictEqual(yield* browser.untilClosed, [])
      target.send("PING")
      const heard = yield* target.until((line) => line === "PONG")
      assert.match(heard.join(), /^RANK 0 1 [0-9]+ m2,PONG$/)
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )

  it.live("runs nothing with fetch and WebSocket", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const target = yield* client
      yield* target.until(isRank)
      yield* Effect.flip(Effect.tryPromise(() => fetch(`http://127.0.0.1:${port}/`, { method: "POST", body })))
      yield* Effect.flip(Effect.tryPromise(() => fetch(`https://127.0.0.1:${port}/`, { method: "POST", body })))
      const socket = new WebSocket(`ws://127.0.0.1:${port}/`)
      const [event] = yield* Effect.promise(() => once(socket, "error"))
      assert.isDefined(event)
      target.send("PING")
      assert.deepStrictEqual(yield* target.until((line) => line.startsWith("PONG")), ["PONG"])
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )
})
