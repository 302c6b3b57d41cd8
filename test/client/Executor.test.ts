/** How a client answers for its handlers. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Scope } from "effect"
import { admitted, admittedTo, welcoming } from "../support/memoryClient.ts"
import type { MemoryConnection } from "../support/memoryFake.ts"
import { passUntil } from "../support/until.ts"

const answersOf = ({ said }: MemoryConnection) =>
  said.filter(({ _tag }) => _tag === "Result").map(({ id, status }) => `${id} ${status}`)

/** Sends a command to the client. */
const send = (connection: MemoryConnection, id: string, command: string) =>
  connection.say({ _tag: "Exec", id, from: 0, command, epoch: 1 })

/** Sends a command to the client, and waits for its answer. */
const ask = (connection: MemoryConnection, id: string, command = "quick") =>
  Effect.suspend(() => {
    send(connection, id, command)
    return passUntil(() => answersOf(connection).some((answer) => answer.startsWith(`${id} `)))
  })

describe("Executor", () => {
  it.effect("answers once for every handler, however it ends", () =>
    Effect.gen(function* () {
      const server = welcoming()
      const interrupted = yield* Effect.forkChild(Effect.never)
      yield* Fiber.interrupt(interrupted)
      const ends: { readonly [command: string]: () => Effect.Effect<{ status: number }> } = {
        fine: () => Effect.succeed({ status: 255 }),
        much: () => Effect.succeed({ status: 256 }),
        less: () => Effect.succeed({ status: -1 }),
        dies: () => Effect.die("boom"),
        interrupts: () => Effect.interrupt,
        joins: () => Effect.as(Fiber.join(interrupted), { status: 0 }),
        throws: () => {
          throw new Error("boom")
        }
      }
      yield* admittedTo(server, { handler: ({ command }) => ends[command]!() })
      for (const command of Object.keys(ends)) send(server.latest(), command, command)
      yield* passUntil(() => answersOf(server.latest()).length === Object.keys(ends).length)
      assert.deepStrictEqual(answersOf(server.latest()), [
        "fine 255",
        "much failed",
        "less failed",
        "dies failed",
        "interrupts cancelled",
        "joins cancelled",
        "throws failed"
      ])
    })
  )

  it.effect("lets a handler continue when the connection breaks, and does not answer for it on the next one", () =>
    Effect.gen(function* () {
      const server = welcoming()
      const events: Array<string> = []
      const go = yield* Deferred.make<void>()
      const client = yield* admittedTo(server, {
        handler: ({ command }) =>
          Effect.sync(() => events.push(`${command} begins`)).pipe(
            Effect.andThen(command === "long" ? Deferred.await(go) : Effect.void),
            Effect.onExit((exit) => Effect.sync(() => events.push(`${command} ${exit._tag}`))),
            Effect.as({ status: 0 })
          )
      })
      const first = server.latest()
      send(first, "1", "long")
      yield* passUntil(() => events.length === 1)
      first.cut()
      yield* passUntil(() => server.connections.length === 2)
      yield* admitted(client)
      // A restarted server counts its ids from the beginning.
      yield* ask(server.latest(), "1", "short")
      yield* Deferred.succeed(go, undefined)
      yield* passUntil(() => events.includes("long Success"))
      yield* ask(server.latest(), "2", "short")
      assert.deepStrictEqual(events.slice(0, 4), ["long begins", "short begins", "short Success", "long Success"])
      assert.deepStrictEqual(answersOf(server.latest()), ["1 0", "2 0"])
    })
  )

  it.effect("gives commands to the handler that came last, and cancels what it runs when it leaves", () =>
    Effect.gen(function* () {
      const server = welcoming()
      const client = yield* admittedTo(server)
      const connection = server.latest()
      const started = yield* Deferred.make<void>()
      const scopes = [yield* Scope.make(), yield* Scope.make()] as const
      for (const [index, scope] of scopes.entries()) {
        const handled = client.handle(({ command }) =>
          command === "long"
            ? Effect.andThen(Deferred.succeed(started, undefined), Effect.never)
            : Effect.succeed({ status: index + 1 })
        )
        yield* Scope.provide(handled, scope)
      }
      yield* ask(connection, "both")
      yield* Scope.close(scopes[0], Exit.void)
      yield* ask(connection, "second")
      send(connection, "long", "long")
      yield* Deferred.await(started)
      yield* Scope.close(scopes[1], Exit.void)
      yield* ask(connection, "none")
      assert.deepStrictEqual(answersOf(connection), ["both 2", "second 2", "long cancelled", "none denied"])
    })
  )
})
