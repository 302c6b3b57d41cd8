/** What a server logs, and through which loggers. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Logger, type LogLevel, References } from "effect"
import { NetAddress } from "effect/net"
import { SocketServer } from "effect/socket"
import { TransportOf, throughWriter } from "../../../src/net/Transport.ts"
import { RankServer } from "../../../src/server/Server.ts"
import { Settings } from "../../../src/server/Settings.ts"
import { onIdleScheduler, settled } from "../../support/IdleScheduler.ts"
import { MemorySocket } from "../../support/MemorySocket.ts"
import { loggingTo, Network, passes, say, server } from "../../support/memoryServer.ts"
import { transcript } from "../../support/transcript.ts"

const level = (minimum: LogLevel.LogLevel) => Layer.succeed(References.MinimumLogLevel, minimum)

/** A server whose layer is built with some loggers, while its sockets run with others; one client comes and is gone. */
const visit = Effect.fnUntraced(function* (built: Layer.Layer<never>, sockets: Layer.Layer<never>) {
  let session: Effect.Effect<unknown> = Effect.void
  const client = yield* MemorySocket.make("10.0.0.1:5")
  const socketServer = SocketServer.SocketServer.of({
    address: NetAddress.unixPathAddress("/memory"),
    run: (handler) => {
      session = handler(client.socket) as Effect.Effect<unknown>
      return Effect.never
    }
  })
  const transport = Layer.succeed(TransportOf, (socket) =>
    throughWriter(socket, { unsent: () => 0, address: client.address, certificate: undefined })
  )
  yield* RankServer.layer.pipe(
    Layer.provide(Layer.succeed(SocketServer.SocketServer, socketServer)),
    Layer.provide(Settings.layer({ maxLine: 512 })),
    Layer.provide(built),
    Layer.build
  )
  yield* settled
  yield* Effect.forkChild(Effect.provide(session, Layer.merge(transport, sockets)))
  yield* settled
  client.reset()
  yield* settled
})

const life = [
  "joined member=m1 group=default address=10.0.0.1:5",
  "leader changed member=m1 group=default epoch=1 since=1970-01-01T00:00:00.000Z",
  "left member=m1 group=default address=10.0.0.1:5 reason=reset"
]

describe("the log of a server", () => {
  it.effect("is written through the loggers of the context that built its layer, and through no others", () => {
    const built: Array<string> = []
    const elsewhere: Array<string> = []
    return Effect.gen(function* () {
      yield* visit(loggingTo(built), loggingTo(elsewhere))
      assert.deepStrictEqual([built, elsewhere], [life, []])
    }).pipe(Effect.scoped, Effect.provide(loggingTo(elsewhere)), onIdleScheduler)
  })

  it.effect("has the minimum level of the context that built its layer, whatever applies elsewhere", () => {
    const lines: Array<string> = []
    return Effect.gen(function* () {
      yield* visit(Layer.merge(loggingTo(lines), level("Warn")), level("Debug"))
      assert.deepStrictEqual(lines, [])
      yield* visit(Layer.merge(loggingTo(lines), level("Info")), level("None"))
      assert.deepStrictEqual(lines, life)
    }).pipe(Effect.scoped, onIdleScheduler)
  })

  it.effect("has nothing where no logger is provided", () => {
    const lines: Array<string> = []
    return Effect.gen(function* () {
      yield* visit(Logger.layer([]), loggingTo(lines))
      assert.deepStrictEqual(lines, [])
    }).pipe(Effect.scoped, onIdleScheduler)
  })
})

const hello = (client: MemorySocket, fields: object = {}) =>
  Effect.map(say(client, JSON.stringify({ _tag: "Hello", protocol: 1, ...fields })), (lines) =>
    JSON.parse(lines[0] ?? "{}")
  )

describe("the log's lines", () => {
  /** The lines without those of other clients' coming and going, and without times and addresses. */
  const logOf = (logged: ReadonlyArray<string>) =>
    logged.map((line) => line.replace(/ (?:address|since|epoch)=\S+/g, ""))

  it.effect("name the group and the member for JOIN, NAME, YIELD, a promotion and a departure", () => {
    const logged: Array<string> = []
    return Effect.gen(function* () {
      yield* transcript(`
        a b> connect
        a> NAME ann
        a  NAMED 0 m1 ann
        b> NAME bob
        b  NAMED 1 m2 bob
        a> YIELD
        a  RANK 1 2 3 m1
        b  RANK 0 2 3 m2
        b> JOIN jobs
        b  RANK 0 1 1 m2
        a  RANK 0 1 4 m1
        a> JOIN jobs
        a  RANK 1 2 2 m1
        b> YIELD
        b  RANK 1 2 3 m2
        a  RANK 0 2 3 m1
        # Its own group, too: it joins it again as the last.
        a> JOIN jobs
        a  RANK 1 2 4 m1
        b  RANK 0 2 4 m2
        b> QUIT
        b  BYE quit
        a  RANK 0 1 5 m1
      `)
      assert.deepStrictEqual(logOf(logged), [
        "joined member=m1 group=default",
        "leader changed member=m1 group=default",
        "joined member=m2 group=default",
        "renamed member=m1 name=ann group=default",
        "renamed member=m2 name=bob group=default",
        "stepped down member=m1 name=ann group=default from=0 to=1",
        "leader changed member=m2 name=bob group=default",
        "joined member=m2 name=bob group=jobs",
        "leader changed member=m2 name=bob group=jobs",
        "leader changed member=m1 name=ann group=default",
        "joined member=m1 name=ann group=jobs",
        "stepped down member=m2 name=bob group=jobs from=0 to=1",
        "leader changed member=m1 name=ann group=jobs",
        "stepped down member=m1 name=ann group=jobs from=0 to=1",
        "leader changed member=m2 name=bob group=jobs",
        "left member=m2 name=bob group=jobs reason=quit",
        "leader changed member=m1 name=ann group=jobs"
      ])
    }).pipe(server({}, logged))
  })

  it.effect("name the group and the name that a Hello asks for", () => {
    const logged: Array<string> = []
    return Effect.gen(function* () {
      yield* transcript(`
        a> connect
        a> {"_tag":"Hello","protocol":1,"group":"other","name":"boss"}
        a  {"_tag":"Welcome","protocol":1,"server":"rankd/0.1.0","member":"m1","group":"other","rank":0,"size":1,"epoch":1,"maxLine":65536,"heartbeat":0,"commandTimeout":60000,"maxCommandTimeout":3600000}
        a  {"_tag":"Rank","rank":0,"size":1,"epoch":1,"member":"m1"}
      `)
      assert.deepStrictEqual(logOf(logged), [
        "joined member=m1 name=boss group=other",
        "leader changed member=m1 name=boss group=other"
      ])
    }).pipe(server({ admission: "hello" }, logged))
  })

  it.effect("give the epoch of a leader, and since when that is", () => {
    const logged: Array<string> = []
    return Effect.gen(function* () {
      yield* transcript(`
        a b> connect
        -- 90 seconds
        a> QUIT
        a  BYE quit
        b  RANK 0 1 90000000 m2
      `)
      assert.strictEqual(
        logged.at(-1),
        "leader changed member=m2 group=default epoch=90000000 since=1970-01-01T00:01:30.000Z"
      )
    }).pipe(server({}, logged))
  })

  it.effect("name the leader also where rank 0 became free while its connection ended, and it comes back", () => {
    const logged: Array<string> = []
    return Effect.gen(function* () {
      const { connectFrom } = yield* Network
      // One address has as many absent members as it may have: the next one from there leaves for good.
      const absent = yield* connectFrom("10.0.0.1:1")
      yield* hello(absent, { group: "other" })
      absent.reset()
      yield* settled
      const leader = yield* connectFrom("10.0.0.1:2")
      yield* hello(leader, { heartbeat: 1000 })
      const next = yield* connectFrom("10.0.0.2:1")
      const { member, resume } = yield* hello(next, { heartbeat: 1000 })
      const last = yield* connectFrom("10.0.0.3:1")
      yield* say(last, "JOIN default")
      logged.length = 0
      // Both are found silent by the same sweep.
      yield* passes("4 seconds")
      const back = yield* connectFrom("10.0.0.2:2")
      assert.deepInclude(yield* hello(back, { resume }), { _tag: "Welcome", member, rank: 0 })
      assert.strictEqual((yield* say(last, "EXPLAIN @m3")).at(-1), "ERROR 1 rank too high")
      assert.deepStrictEqual(
        logOf(logged).filter((line) => line.startsWith("leader")),
        [`leader changed member=${member} group=default`]
      )
    }).pipe(server({ admission: "hello", grace: Duration.seconds(60), maxConnectionsPerAddress: 1 }, logged))
  })
})
