import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Logger, Option, Scope, Stream, SubscriptionRef } from "effect"
import {
  Leader,
  NodeClient,
  NodeServer,
  type Order,
  RankClient,
  RankServer,
  Settings,
  type Standing
} from "../../src/index.ts"
import { proxy } from "../support/proxy.ts"
import { Port, serverLayer, client as wireClient } from "../support/wire.ts"

type Client = RankClient["Service"]

const quiet = Logger.layer([])

/** A client that has been welcomed; it leaves when the scope closes. */
const join = Effect.fnUntraced(function* (port: number, name?: string) {
  const options = { host: "127.0.0.1", port, ...(name === undefined ? {} : { name }) }
  const context = yield* Layer.build(NodeClient.layer(options).pipe(Layer.provide(quiet)))
  const client = Context.get(context, RankClient)
  yield* standing(client, (now) => now !== undefined)
  return client
})

/** Waits until the client stands as described. */
const standing = (client: Client, accept: (now: Standing | undefined) => boolean) =>
  SubscriptionRef.changes(client.standing).pipe(
    Stream.filter(accept),
    Stream.runHead,
    Effect.timeoutOrElse({ duration: "15 seconds", orElse: () => Effect.die(new Error("never stood there")) })
  )

const rankOf = (client: Client) => SubscriptionRef.getUnsafe(client.standing)?.rank

const withServer = Effect.provide(serverLayer({ maxClients: 50 }))

describe("RankClient", () => {
  it.live("has others execute, and is told what became of it", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const [a, b] = [yield* join(port), yield* join(port, "worker")]
      assert.deepStrictEqual([rankOf(a), rankOf(b)], [0, 1])
      // Without a handler it is denied.
      assert.deepStrictEqual(yield* a.exec("1", "x"), { rank: 1, status: "denied" })
      const orders: Array<unknown> = []
      yield* b.handle(({ command, from, output }) =>
        Effect.gen(function* () {
          orders.push([from, command])
          if (command === "die") return yield* Effect.die("boom")
          yield* output("part\nof it")
          return { status: 3, output: `did ${command}\u0000` }
        })
      )
      const parts: Array<unknown> = []
      const outcome = yield* a.exec("@worker", "job", { onOutput: (rank, text) => parts.push([rank, text]) })
      assert.deepStrictEqual(outcome, { rank: 1, status: 3, output: "did job\u0000" })
      assert.deepStrictEqual(parts, [[1, "part\nof it"]])
      assert.deepStrictEqual(orders, [[0, "job"]])
      assert.deepStrictEqual(yield* a.exec("1", "die"), { rank: 1, status: "failed" })
      for (const [client, to, reason] of [
        [b, "0", "rank too high"],
        [a, "*", "malformed"],
        [a, "1-1", "malformed"],
        [a, "7", "no such rank"],
        [a, "@nobody", "no such member"],
        [a, "01", "malformed"]
      ] as const) {
        assert.strictEqual((yield* Effect.flip(client.exec(to, "x"))).reason, reason)
      }
      assert.strictEqual((yield* Effect.flip(Stream.runDrain(b.execAll("*", "x")))).reason, "nobody below")
      assert.strictEqual((yield* Effect.flip(a.exec("1", "x", { epoch: 1 }))).reason, "stale epoch")
      assert.strictEqual((yield* Effect.flip(a.exec("1", "x\ny"))).reason, "malformed")
    }).pipe(Effect.scoped, withServer)
  )

  it.live("executes from the first moment on", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const boss = yield* wireClient
      boss.send("WATCH")
      yield* boss.until((line) => line.startsWith("END"))
      const joined = boss.until((line) => line.startsWith("JOINED"))
      const commanded = Effect.andThen(
        joined,
        Effect.sync(() => boss.send("EXEC#1 1 x"))
      )
      const handler = ({ command }: Order) => Effect.succeed({ status: 0, output: command })
      const layer = NodeClient.layer({ host: "127.0.0.1", port, handler }).pipe(Layer.provide(quiet))
      yield* Effect.all([commanded, Layer.build(layer)], { concurrency: 2 })
      assert.include(yield* boss.until((line) => line.startsWith("RESULT")), "RESULT#1 1 0 x")
    }).pipe(Effect.scoped, withServer)
  )

  it.live("passes on output of any length, whatever is in it, in lines that fit", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const [a, b] = [yield* join(port), yield* join(port)]
      const text = "\u0000\u001b[2J😀é\n".repeat(20_000)
      yield* b.handle(({ command, output }) =>
        command === "lone"
          ? Effect.succeed({ status: 0, output: "\ud800!" })
          : Effect.as(output(text), { status: 0, output: text })
      )
      const outcome = yield* a.exec("1", "long")
      assert.strictEqual(outcome.output?.length, 2 * text.length)
      assert.isTrue(outcome.output === text + text)
      const parts: Array<string> = []
      const rest = yield* a.exec("1", "long", { onOutput: (_, part) => parts.push(part) })
      assert.isTrue(parts.join("") + rest.output === text + text)
      assert.deepStrictEqual(yield* a.exec("1", "lone"), { rank: 1, status: 0, output: "\ufffd!" })
      const endless = "x".repeat(1024 * 1024)
      yield* b.handle(({ output }) => Effect.as(output(endless), { status: 0, output: "y" }))
      const cut = yield* a.exec("1", "endless")
      assert.isTrue(cut.truncated)
      assert.isTrue(cut.output === endless)
    }).pipe(Effect.scoped, withServer)
  )

  it.live("says what is wrong before the server closes for it", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const a = yield* join(port, "boss")
      const error = yield* Effect.flip(a.exec("1", "x".repeat(70_000)))
      assert.strictEqual(error.message, "line too long: at most 65536 bytes")
      assert.strictEqual(rankOf(a), 0)
      const options = { host: "127.0.0.1", port, name: "boss" }
      const late = Context.get(yield* Layer.build(NodeClient.layer(options).pipe(Layer.provide(quiet))), RankClient)
      const refused = yield* SubscriptionRef.changes(late.refused).pipe(
        Stream.filter((refused) => refused !== undefined),
        Stream.runHead,
        Effect.timeoutOrElse({ duration: "5 seconds", orElse: () => Effect.die(new Error("was not refused")) })
      )
      assert.strictEqual(Option.getOrThrow(refused).message, "name taken")
      assert.isUndefined(rankOf(late))
    }).pipe(Effect.scoped, withServer)
  )

  it.live("takes outcomes from all, or the first that succeeds, and withdraws the rest", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const a = yield* join(port)
      const interrupted: Array<number> = []
      let endless = 0
      for (let rank = 1; rank <= 3; rank++) {
        const executor = yield* join(port)
        yield* executor.handle(({ command }) => {
          if (command === "all") return Effect.succeed({ status: rank })
          if (rank === 1) return Effect.succeed({ status: 1 })
          if (rank === 2 && command === "first") return Effect.delay(Effect.succeed({ status: 0 }), "50 millis")
          endless++
          return Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted.push(rank)))
        })
      }
      const all = yield* Stream.runCollect(a.execAll("*", "all"))
      assert.deepStrictEqual(
        [...all].sort((x, y) => x.rank! - y.rank!),
        [1, 2, 3].map((rank) => ({ rank, status: rank }))
      )
      assert.deepStrictEqual(yield* a.execFirst("*", "first"), { rank: 2, status: 0 })
      while (interrupted.length < 1) yield* Effect.sleep("5 millis")
      assert.deepStrictEqual(interrupted, [3])
      const none = yield* Effect.flip(a.execFirst("1-1", "none"))
      assert.strictEqual(none._tag, "NoneSucceeded")
      const running = yield* Effect.forkChild(a.exec("2", "forever"))
      while (endless < 2) yield* Effect.sleep("5 millis")
      yield* Fiber.interrupt(running)
      while (interrupted.length < 2) yield* Effect.sleep("5 millis")
      assert.deepStrictEqual(interrupted, [3, 2])
    }).pipe(Effect.scoped, withServer)
  )

  it.live("goes on with other commands while a withdrawn one takes its time to end", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const [a, b] = [yield* join(port), yield* join(port)]
      const started = yield* Deferred.make<void>()
      const over = yield* Deferred.make<void>()
      yield* b.handle(({ command }) =>
        command === "quick"
          ? Effect.succeed({ status: 0 })
          : Effect.onInterrupt(Effect.andThen(Deferred.succeed(started, undefined), Effect.never), () =>
              Deferred.await(over)
            )
      )
      const running = yield* Effect.forkChild(a.exec("1", "slow"))
      yield* Deferred.await(started)
      yield* Fiber.interrupt(running)
      const quick = yield* Effect.timeoutOption(a.exec("1", "quick"), "5 seconds")
      yield* Deferred.succeed(over, undefined)
      assert.deepStrictEqual(Option.getOrUndefined(quick), { rank: 1, status: 0 })
    }).pipe(Effect.scoped, withServer)
  )

  it.live("follows the members of its group", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const a = yield* join(port, "a")
      let now = ""
      yield* Effect.forkScoped(
        Stream.runForEach(a.roster, (members) =>
          Effect.sync(() => {
            now = members.map(({ member, name, rank }) => `${rank}${member}${name ?? ""}`).join(" ")
          })
        )
      )
      const becomes = (expected: string) =>
        Effect.gen(function* () {
          while (now !== expected) yield* Effect.sleep("5 millis")
        }).pipe(Effect.timeoutOrElse({ duration: "5 seconds", orElse: () => Effect.die(new Error(`is ${now}`)) }))
      yield* becomes("0m1a")
      const b = yield* wireClient
      yield* becomes("0m1a 1m2")
      b.send("NAME bea")
      yield* becomes("0m1a 1m2bea")
      const c = yield* wireClient
      yield* becomes("0m1a 1m2bea 2m3")
      b.send("YIELD")
      yield* becomes("0m1a 1m3 2m2bea")
      c.socket.destroy()
      yield* becomes("0m1a 1m2bea")
    }).pipe(Effect.scoped, withServer)
  )

  it.live("comes back when the server does, and never guesses what became of a command", () =>
    Effect.gen(function* () {
      const serve = (port: number) =>
        Layer.build(
          RankServer.layer.pipe(
            Layer.provide(NodeServer.layer({ host: "127.0.0.1", port })),
            Layer.provide(Settings.layer({})),
            Layer.provide(quiet)
          )
        )
      const first = yield* Scope.make()
      const { address } = Context.get(yield* Scope.provide(serve(0), first), RankServer)
      const { port } = address as { readonly port: number }
      const [a, b] = [yield* join(port, "a"), yield* join(port, "b")]
      const reached = yield* Deferred.make<void>()
      yield* b.handle(() => Effect.andThen(Deferred.succeed(reached, undefined), Effect.never))
      const running = yield* Effect.forkChild(a.exec("1", "x"))
      yield* Deferred.await(reached)
      yield* Scope.close(first, Exit.void)
      assert.strictEqual((yield* Fiber.join(running)).status, "lost")
      yield* standing(a, (now) => now === undefined)
      assert.deepStrictEqual(yield* a.exec("1", "x"), { status: "undelivered" })
      yield* serve(port)
      yield* standing(a, (now) => now !== undefined)
      yield* standing(b, (now) => now !== undefined)
      assert.sameMembers([rankOf(a), rankOf(b)], [0, 1])
    }).pipe(Effect.scoped)
  )
})

describe("Leader", () => {
  it.live(
    "hands over fifty times, and no two ever lead under the same epoch",
    () =>
      Effect.gen(function* () {
        const port = yield* Port
        /** Who led under each epoch, in the order that they did. */
        const held = new Map<number, string>()
        let leader: { readonly kill: () => void } | undefined
        const lines = yield* Effect.forEach(Array.from({ length: 5 }), () => proxy(port))
        for (const [index, line] of lines.entries()) {
          const candidate = yield* join(line.port, `p${index}`)
          const lead = Leader.whileLeader((epoch) =>
            Effect.acquireUseRelease(
              Effect.sync(() => {
                assert.isFalse(held.has(epoch), `p${index} and ${held.get(epoch)} hold ${epoch}`)
                assert.isAbove(epoch, [...held.keys()].at(-1) ?? 0)
                held.set(epoch, `p${index}`)
                leader = { kill: line.cut }
              }),
              () => Effect.never,
              () => Effect.void
            )
          )
          yield* Effect.forkScoped(Effect.orDie(Effect.provideService(lead, RankClient, candidate)))
        }
        const leads = (times: number) =>
          Effect.gen(function* () {
            while (held.size < times) yield* Effect.sleep("1 millis")
          }).pipe(
            Effect.timeoutOrElse({ duration: "10 seconds", orElse: () => Effect.die(new Error(`${held.size} led`)) })
          )
        for (let kill = 1; kill <= 50; kill++) {
          yield* leads(kill)
          leader!.kill()
        }
        yield* leads(51)
        assert.strictEqual(new Set(held.values()).size, 5)
      }).pipe(Effect.scoped, Effect.provide(serverLayer())),
    60_000
  )

  it.live("interrupts what the leader does when it is the leader no more, and ends as it does", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const life = yield* Scope.make()
      const a = yield* Scope.provide(join(port), life)
      const b = yield* join(port)
      const events: Array<string> = []
      const lead = (client: Client, name: string, work: Effect.Effect<string>) =>
        Leader.whileLeader(() => {
          events.push(`${name} leads`)
          return Effect.onInterrupt(work, () => Effect.sync(() => events.push(`${name} stops`)))
        }).pipe(Effect.provideService(RankClient, client))
      yield* Effect.forkScoped(lead(a, "a", Effect.never))
      const second = yield* Effect.forkScoped(lead(b, "b", Effect.delay(Effect.succeed("done"), "20 millis")))
      const epoch = yield* Effect.provideService(Leader.awaitLeader, RankClient, a)
      assert.strictEqual(epoch, SubscriptionRef.getUnsafe(a.standing)?.epoch)
      yield* Effect.sleep("50 millis")
      assert.deepStrictEqual(events, ["a leads"])
      assert.isUndefined(second.pollUnsafe())
      yield* Scope.close(life, Exit.void)
      assert.strictEqual(yield* Fiber.join(second), "done")
      assert.deepStrictEqual(events, ["a leads", "a stops", "b leads"])
    }).pipe(Effect.scoped, withServer)
  )
})
