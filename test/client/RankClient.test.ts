/** A client of the library and a server, on real sockets. */
import { assert, describe, it } from "@effect/vitest"
import {
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Option,
  Scope,
  Stream,
  SubscriptionRef
} from "effect"
import { type IncomingCommand, NodeServer, RankServer, Settings } from "../../src/index.ts"
import { admitted, connectClient, join, rankOf, standingOf } from "../support/client.ts"
import { until } from "../support/until.ts"
import { Port, serverLayer, client as wireClient } from "../support/wire.ts"

const withServer = Effect.provide(Layer.merge(serverLayer({ maxClients: 50 }), Logger.layer([])))

describe("RankClient", () => {
  it.live("has other members execute, and gets their outcomes", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const [a, b] = [yield* join(port), yield* join(port, { name: "worker" })]
      assert.deepStrictEqual([rankOf(a), rankOf(b)], [0, 1])
      // It has no handler yet.
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

  it.live("executes commands from the first moment on", () =>
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
      const handler = ({ command }: IncomingCommand) => Effect.succeed({ status: 0, output: command })
      yield* Effect.all([commanded, connectClient(port, { handler })], { concurrency: 2 })
      assert.include(yield* boss.until((line) => line.startsWith("RESULT")), "RESULT#1 1 0 x")
    }).pipe(Effect.scoped, withServer)
  )

  it.live("passes on output of any length and content, in lines that fit", () =>
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

  it.live("reports what the server would close the connection for, and why it is not admitted", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const a = yield* join(port, { name: "boss" })
      const error = yield* Effect.flip(a.exec("1", "x".repeat(70_000)))
      assert.strictEqual(error.message, "line too long: at most 65536 bytes")
      assert.strictEqual(rankOf(a), 0)
      const late = yield* connectClient(port, { name: "boss" })
      yield* until(() => SubscriptionRef.getUnsafe(late.refused) !== undefined)
      assert.strictEqual(SubscriptionRef.getUnsafe(late.refused)?.message, "name taken")
      assert.isUndefined(rankOf(late))
    }).pipe(Effect.scoped, withServer)
  )

  it.live("takes the outcomes of all targets, or the first success and withdraws the rest", () =>
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
      yield* until(() => interrupted.length === 1)
      assert.deepStrictEqual(interrupted, [3])
      const none = yield* Effect.flip(a.execFirst("1-1", "none"))
      assert.strictEqual(none._tag, "NoneSucceeded")
      const running = yield* Effect.forkChild(a.exec("2", "forever"))
      yield* until(() => endless === 2)
      yield* Fiber.interrupt(running)
      yield* until(() => interrupted.length === 2)
      assert.deepStrictEqual(interrupted, [3, 2])
    }).pipe(Effect.scoped, withServer)
  )

  it.live("executes other commands while a withdrawn one still ends", () =>
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
      const a = yield* join(port, { name: "a" })
      let now = ""
      yield* Effect.forkScoped(
        Stream.runForEach(a.roster, (members) =>
          Effect.sync(() => {
            now = members.map(({ member, name, rank }) => `${rank}${member}${name ?? ""}`).join(" ")
          })
        )
      )
      const becomes = (expected: string) => until(() => now === expected)
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

  it.live("comes back when the server does, and never guesses an outcome", () =>
    Effect.gen(function* () {
      const serve = (port: number) =>
        Layer.build(
          RankServer.layer.pipe(
            Layer.provide(NodeServer.layer({ host: "127.0.0.1", port })),
            // The command that never ends is not waited for.
            Layer.provide(Settings.layer({ drain: Duration.zero })),
            Layer.provide(Logger.layer([]))
          )
        )
      const first = yield* Scope.make()
      const { address } = Context.get(yield* Scope.provide(serve(0), first), RankServer)
      const { port } = address as { readonly port: number }
      const [a, b] = [yield* join(port, { name: "a" }), yield* join(port, { name: "b" })]
      const reached = yield* Deferred.make<void>()
      yield* b.handle(() => Effect.andThen(Deferred.succeed(reached, undefined), Effect.never))
      const running = yield* Effect.forkChild(a.exec("1", "x"))
      yield* Deferred.await(reached)
      yield* Scope.close(first, Exit.void)
      assert.strictEqual((yield* Fiber.join(running)).status, "lost")
      yield* until(() => standingOf(a) === undefined)
      assert.deepStrictEqual(yield* a.exec("1", "x"), { status: "undelivered" })
      yield* serve(port)
      yield* admitted(a)
      yield* admitted(b)
      assert.sameMembers([rankOf(a), rankOf(b)], [0, 1])
    }).pipe(Effect.scoped)
  )
})
