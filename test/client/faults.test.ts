/** What the client makes of servers, handlers and callers that do not behave. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Logger, Option, Scope, Stream, SubscriptionRef } from "effect"
import { type ClientOptions, Leader, NodeClient, RankClient } from "../../src/index.ts"
import { type Connection, fakeServer, welcome } from "../support/fakeServer.ts"
import { Port, serverLayer } from "../support/wire.ts"

const quiet = Logger.layer([])

const connect = Effect.fnUntraced(function* (port: number, options: ClientOptions = {}) {
  const layer = NodeClient.layer({ host: "127.0.0.1", port, ...options })
  return Context.get(yield* Layer.build(layer), RankClient)
})

/** Waits until it is so. */
const until = (condition: () => boolean, within = 10_000) =>
  Effect.gen(function* () {
    while (!condition()) yield* Effect.sleep("5 millis")
  }).pipe(Effect.timeoutOrElse({ duration: within, orElse: () => Effect.die(new Error(`not so: ${condition}`)) }))

const admitted = (client: RankClient["Service"]) =>
  until(() => SubscriptionRef.getUnsafe(client.standing) !== undefined)

/** Welcomes everybody, and leaves the rest to `hear`. */
const welcoming = (hear: (said: Connection["said"][number], connection: Connection) => void = () => {}) =>
  fakeServer((said, connection) => {
    if (said._tag === "Hello") connection.say(welcome())
    else hear(said, connection)
  })

const live = (name: string, test: Effect.Effect<unknown, unknown, Scope.Scope>, timeout?: number) =>
  it.live(name, () => test.pipe(Effect.scoped, Effect.provide(quiet)), timeout)

describe("a client", { concurrent: true, timeout: 30_000 }, () => {
  live(
    "tells lost from undelivered when the connection is cut, and sends nothing twice",
    Effect.gen(function* () {
      const server = yield* welcoming((said, { socket }) => {
        if (said.command === "first") socket.pause()
        if (said.command === "cut") socket.resetAndDestroy()
      })
      const client = yield* connect(server.port)
      yield* admitted(client)
      assert.deepStrictEqual(yield* client.exec("1", "cut"), { status: "lost" })
      yield* until(() => server.connections.length === 2)
      yield* admitted(client)
      // More than sockets hold: the last of them never leave this process.
      const commands = ["first", ...Array.from({ length: 300 }, () => "x".repeat(60_000)), "last"]
      const open = yield* Effect.forkChild(
        Effect.forEach(commands, (command) => client.exec("1", command), { concurrency: "unbounded" })
      )
      yield* Effect.sleep("500 millis")
      server.connections[1]!.socket.destroy()
      const outcomes = yield* Fiber.join(open)
      assert.deepStrictEqual(outcomes[0], { status: "lost" })
      assert.deepStrictEqual(outcomes.at(-1), { status: "undelivered" })
      yield* until(() => server.connections.length === 3)
      yield* Effect.sleep("200 millis")
      assert.deepStrictEqual(
        server.connections[2]!.said.map(({ _tag }) => _tag),
        ["Hello"]
      )
    })
  )

  live(
    "waits for its first connection with what it has to say, but not for ever",
    Effect.gen(function* () {
      const server = yield* welcoming((said, { say }) => {
        if (said._tag === "Exec") say({ _tag: "Result", id: said.id!, rank: 1, status: 0 })
      })
      const client = yield* connect(server.port)
      assert.deepStrictEqual(yield* client.exec("1", "x"), { rank: 1, status: 0 })
      const nobody = yield* connect(1)
      assert.deepStrictEqual(yield* nobody.exec("1", "x"), { status: "undelivered" })
    })
  )

  live(
    "does not make a caller wait for a server that does not read",
    Effect.gen(function* () {
      const server = yield* welcoming((said, { socket }) => {
        if (said.command === "first") socket.pause()
      })
      const client = yield* connect(server.port)
      yield* admitted(client)
      const commands = ["first", ...Array.from({ length: 300 }, () => "x".repeat(60_000))]
      yield* Effect.forkChild(
        Effect.forEach(commands, (command) => client.exec("1", command), { concurrency: "unbounded" })
      )
      yield* Effect.sleep("300 millis")
      const start = Date.now()
      assert.isTrue(Option.isNone(yield* Effect.timeoutOption(client.exec("1", "x"), "200 millis")))
      assert.isBelow(Date.now() - start, 2000)
    })
  )

  live(
    "gives up on a server that says nothing, at the beginning and later",
    Effect.gen(function* () {
      const mute = yield* fakeServer(() => {})
      yield* connect(mute.port)
      const silent = yield* welcoming((said, { said: all, say }) => {
        // It answers the first time that it is asked.
        const asked = all.filter(({ _tag }) => _tag === "Ping")
        if (said._tag === "Ping" && asked.length === 1) say({ _tag: "Pong", text: `${said.text}` })
      })
      const client = yield* connect(silent.port)
      yield* admitted(client)
      const asked = yield* Effect.forkChild(client.exec("1", "x"))
      yield* until(() => mute.connections.length >= 2, 8000)
      yield* until(() => silent.connections.length === 2, 25_000)
      assert.strictEqual((yield* Fiber.join(asked)).status, "lost")
      assert.isAbove(silent.connections[0]!.said.filter(({ _tag }) => _tag === "Ping").length, 2)
    }),
    40_000
  )

  live(
    "connects ever less often to a server that welcomes and closes",
    Effect.gen(function* () {
      const server = yield* fakeServer((_, { say, socket }) => {
        say(welcome())
        setTimeout(() => socket.destroy(), 5)
      })
      yield* connect(server.port)
      yield* Effect.sleep("2 seconds")
      assert.isBelow(server.connections.length, 8)
    })
  )

  live(
    "goes on after lines that it does not understand",
    Effect.gen(function* () {
      const server = yield* fakeServer((said, { say, socket }) => {
        if (said._tag !== "Hello") return
        socket.write('{"_tag":"Nonsense"}\n{\n\u0000\u00ff\n{"_tag":"Rank","rank":-1}\nRANK 0 1 5 m1\nGARBAGE\n')
        say(welcome())
      })
      const client = yield* connect(server.port)
      yield* admitted(client)
      assert.strictEqual(server.connections.length, 1)
    })
  )

  live(
    "is the same group's and name's when it connects again, and watches again",
    Effect.gen(function* () {
      const server = yield* fakeServer((said, connection) => {
        if (said._tag === "Hello") connection.say(welcome({ group: `${said.group}`, epoch: server_epoch++ }))
        if (said._tag === "Watch") {
          const members = [{ rank: 0, member: "m1", name: `c${connections().length}`, address: "here" }]
          connection.say({ _tag: "Roster", size: 1, epoch: 1, members })
        }
      })
      const connections = () => server.connections
      let server_epoch = 1
      const client = yield* connect(server.port, { group: "jobs", name: "one" })
      yield* admitted(client)
      const lists: Array<string> = []
      yield* Effect.forkScoped(
        Stream.runForEach(client.roster, (members) =>
          Effect.sync(() => lists.push(members.map(({ name }) => name).join()))
        )
      )
      yield* until(() => lists.includes("c1"))
      server.connections[0]!.socket.destroy()
      yield* until(() => lists.includes("c2"))
      assert.deepStrictEqual(lists, ["c1", "", "c2"])
      assert.deepInclude(server.connections[1]!.said[0]!, { _tag: "Hello", group: "jobs", name: "one" })
    })
  )

  live(
    "says why it is not admitted for as long as that is so",
    Effect.gen(function* () {
      let full = true
      const server = yield* fakeServer((_, { say, socket }) => {
        if (full) socket.end("ERROR - server full\n")
        else say(welcome())
      })
      const client = yield* connect(server.port)
      yield* until(() => SubscriptionRef.getUnsafe(client.refused)?.reason === "server full")
      full = false
      yield* admitted(client)
      assert.isUndefined(SubscriptionRef.getUnsafe(client.refused))
    })
  )

  live(
    "is none with a name or a group that is none",
    Effect.gen(function* () {
      for (const options of [{ name: "my worker" }, { name: "m1" }, { group: "a b" }]) {
        const exit = yield* Effect.exit(connect(1, options))
        assert.match(`${exit}`, /malformed/)
      }
    })
  )
})

describe("a handler", { concurrent: true, timeout: 30_000 }, () => {
  const answersOf = ({ said }: Connection) =>
    said.filter(({ _tag }) => _tag === "Result").map(({ id, status }) => `${id} ${status}`)

  live(
    "is answered for however it ends",
    Effect.gen(function* () {
      const server = yield* welcoming()
      const interrupted = yield* Effect.forkChild(Effect.never)
      yield* Fiber.interrupt(interrupted)
      const ends: { readonly [command: string]: Effect.Effect<{ status: number }> } = {
        fine: Effect.succeed({ status: 255 }),
        much: Effect.succeed({ status: 256 }),
        less: Effect.succeed({ status: -1 }),
        dies: Effect.die("boom"),
        interrupts: Effect.interrupt,
        joins: Effect.as(Fiber.join(interrupted), { status: 0 })
      }
      const client = yield* connect(server.port, {
        handler: ({ command }) => {
          if (command === "throws") throw new Error("boom")
          return ends[command]!
        }
      })
      yield* admitted(client)
      const commands = [...Object.keys(ends), "throws"]
      for (const command of commands)
        server.connections[0]!.say({ _tag: "Exec", id: command, from: 0, command, epoch: 1 })
      yield* until(() => answersOf(server.connections[0]!).length === commands.length)
      assert.deepStrictEqual(answersOf(server.connections[0]!), [
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

  live(
    "goes on when the connection breaks, for nobody to hear of, whatever comes over the next one",
    Effect.gen(function* () {
      const server = yield* welcoming()
      const ended: Array<string> = []
      const go = yield* Deferred.make<void>()
      const client = yield* connect(server.port, {
        handler: ({ command }) =>
          (command === "long" ? Deferred.await(go) : Effect.void).pipe(
            Effect.onExit((exit) => Effect.sync(() => ended.push(`${command} ${exit._tag}`))),
            Effect.as({ status: 0 })
          )
      })
      yield* admitted(client)
      server.connections[0]!.say({ _tag: "Exec", id: "1", from: 0, command: "long", epoch: 1 })
      yield* Effect.sleep("50 millis")
      server.connections[0]!.socket.destroy()
      yield* until(() => server.connections.length === 2)
      yield* admitted(client)
      // A server that was started again counts from the beginning.
      server.connections[1]!.say({ _tag: "Exec", id: "1", from: 0, command: "short", epoch: 1 })
      yield* until(() => answersOf(server.connections[1]!).length === 1)
      yield* Deferred.succeed(go, undefined)
      yield* until(() => ended.length === 2)
      yield* Effect.sleep("50 millis")
      assert.deepStrictEqual(ended, ["short Success", "long Success"])
      assert.deepStrictEqual(answersOf(server.connections[1]!), ["1 0"])
    })
  )

  live(
    "is the last that there is, and what it has under way is cancelled when it goes",
    Effect.gen(function* () {
      const server = yield* welcoming()
      const client = yield* connect(server.port)
      yield* admitted(client)
      const connection = server.connections[0]!
      const ask = (id: string, command = "quick") =>
        Effect.andThen(
          Effect.sync(() => connection.say({ _tag: "Exec", id, from: 0, command, epoch: 1 })),
          until(() => answersOf(connection).some((answer) => answer.startsWith(`${id} `)))
        )
      const scopes = [yield* Scope.make(), yield* Scope.make()]
      for (const [status, scope] of scopes.entries()) {
        yield* Scope.provide(
          client.handle(({ command }) => (command === "long" ? Effect.never : Effect.succeed({ status: status + 1 }))),
          scope
        )
      }
      yield* ask("both")
      yield* Scope.close(scopes[0]!, Exit.void)
      yield* ask("second")
      const long = yield* Effect.forkChild(ask("long", "long"))
      yield* Effect.sleep("50 millis")
      yield* Scope.close(scopes[1]!, Exit.void)
      yield* Fiber.join(long)
      yield* ask("none")
      assert.deepStrictEqual(answersOf(connection), ["both 2", "second 2", "long cancelled", "none denied"])
    })
  )

  live(
    "has nothing to do with what a caller does wrong in onOutput",
    Effect.gen(function* () {
      const server = yield* welcoming((said, { say }) => {
        if (said._tag !== "Exec") return
        say({ _tag: "Output", id: said.id!, rank: 1, text: "x" })
        say({ _tag: "Result", id: said.id!, rank: 1, status: 0 })
      })
      const client = yield* connect(server.port)
      yield* admitted(client)
      const onOutput = () => {
        throw new Error("boom")
      }
      assert.deepStrictEqual(yield* client.exec("1", "x", { onOutput }), { rank: 1, status: 0 })
      assert.strictEqual(server.connections.length, 1)
    })
  )
})

describe("whileLeader", { concurrent: true, timeout: 30_000 }, () => {
  live(
    "begins anew under a new epoch, when what was done under the old one has ended",
    Effect.gen(function* () {
      const server = yield* welcoming()
      const client = yield* connect(server.port)
      yield* admitted(client)
      const events: Array<string> = []
      yield* Effect.forkScoped(
        Leader.whileLeader((epoch) => {
          events.push(`begins ${epoch}`)
          return Effect.onInterrupt(Effect.never, () =>
            Effect.andThen(
              Effect.sleep("200 millis"),
              Effect.sync(() => events.push(`ends ${epoch}`))
            )
          )
        }).pipe(Effect.provideService(RankClient, client))
      )
      yield* until(() => events.length === 1)
      const { say } = server.connections[0]!
      say({ _tag: "Rank", rank: 0, size: 2, epoch: 8, member: "m1" })
      yield* until(() => events.length === 3)
      // While the end of that is waited for the lead comes and goes.
      say({ _tag: "Rank", rank: 1, size: 2, epoch: 9, member: "m1" })
      say({ _tag: "Rank", rank: 0, size: 2, epoch: 10, member: "m1" })
      say({ _tag: "Rank", rank: 1, size: 2, epoch: 11, member: "m1" })
      yield* until(() => events.length === 4)
      yield* Effect.sleep("300 millis")
      assert.deepStrictEqual(events, ["begins 7", "ends 7", "begins 8", "ends 8"])
    })
  )

  live(
    "fails as the effect does, even if that throws",
    Effect.gen(function* () {
      const server = yield* welcoming()
      const client = yield* connect(server.port)
      const provided = Effect.provideService(RankClient, client)
      const thrown = Leader.whileLeader((): Effect.Effect<void> => {
        throw new Error("boom")
      })
      assert.match(`${yield* Effect.exit(provided(thrown))}`, /boom/)
      assert.strictEqual(yield* Effect.flip(provided(Leader.whileLeader(() => Effect.fail("no")))), "no")
    })
  )

  it.live("hands over only when it has ended, where the leader leaves by itself", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const events: Array<string> = []
      const lead = (name: string, client: RankClient["Service"]) =>
        Leader.whileLeader(() => {
          events.push(`${name} begins`)
          return Effect.onInterrupt(Effect.never, () =>
            Effect.andThen(
              Effect.sleep("200 millis"),
              Effect.sync(() => events.push(`${name} ends`))
            )
          )
        }).pipe(Effect.provideService(RankClient, client), Effect.forkScoped)
      const scope = yield* Scope.make()
      const a = yield* Scope.provide(connect(port), scope)
      yield* admitted(a)
      const b = yield* connect(port)
      yield* admitted(b)
      yield* lead("a", a)
      yield* lead("b", b)
      yield* until(() => events.length === 1)
      yield* Scope.close(scope, Exit.void)
      yield* until(() => events.length === 3)
      assert.deepStrictEqual(events, ["a begins", "a ends", "b begins"])
    }).pipe(Effect.scoped, Effect.provide(serverLayer()), Effect.provide(quiet))
  )
})
