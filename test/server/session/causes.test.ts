/** Provokes every cause for which a session can end: the events name it. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import type { AccessPolicy, Grant } from "../../../src/server/admission/Access.ts"
import type { CloseCause } from "../../../src/server/events/CloseCause.ts"
import type { SettingsValues } from "../../../src/server/Settings.ts"
import { isOtherProtocol, isRefusal, isSlowConsumer } from "../../../src/server/session/closings.ts"
import type { MemorySocket } from "../../support/MemorySocket.ts"
import { Network, passes, say, server, settled } from "../../support/memoryServer.ts"

/** The address of the client whose session ends. */
const ADDRESS = "10.0.0.9:1"

const connect = (certified?: string) => Effect.flatMap(Network, ({ connectFrom }) => connectFrom(ADDRESS, certified))

/** Another client. */
const another = Effect.flatMap(Network, ({ connect }) => connect)

const everything: Grant = { issue: true, execute: true }
let revokeAll = () => {}

/** Every word is a token; `worker` is for that name only. */
const access: AccessPolicy = {
  authenticate: (token) =>
    Effect.sync(() => {
      if (token === "defect") throw new Error("a defect of the policy")
      return token === "wrong" ? undefined : token === "worker" ? { ...everything, name: "worker" } : everything
    }),
  observe: (changed) =>
    Effect.sync(() => {
      revokeAll = () => changed(() => false)
    })
}

interface Scenario {
  readonly settings?: Partial<SettingsValues>
  /** Whether the server asks for a token. */
  readonly guarded?: boolean
  /** Returns the client whose session ends. */
  readonly run: Effect.Effect<MemorySocket, never, Network>
  /** The last line for the client. */
  readonly last?: string | RegExp
}

const hello = (fields: object = {}) => JSON.stringify({ _tag: "Hello", protocol: 1, ...fields })

const saying = (...lines: ReadonlyArray<string>) =>
  Effect.tap(connect(), (client) => Effect.sync(() => client.send(lines.map((line) => `${line}\n`).join(""))))

/** A client that does not read during `what`, and then reads all that waits for it. */
const deaf = (what: (issuer: MemorySocket) => Effect.Effect<unknown>) =>
  Effect.gen(function* () {
    const issuer = yield* another
    const client = yield* connect()
    client.reading = false
    yield* what(issuer)
    client.resume()
    return client
  })

/** Sends it `count` commands of 1 KiB. */
const commands = (issuer: MemorySocket, count: number) =>
  say(issuer, ...Array.from({ length: count }, () => `EXEC 1 ${"x".repeat(1016)}`))

/** "authenticated too late" is missing: the server has closed such a client for another cause already. */
const scenarios: { readonly [cause in Exclude<CloseCause, "authenticated too late">]: Scenario } = {
  "pending bytes": {
    settings: { maxPending: 65_536 },
    // The issuer is held up for half a second.
    run: deaf((issuer) => Effect.andThen(commands(issuer, 160), passes("600 millis"))),
    last: "BYE slow consumer"
  },
  "write deadline": {
    run: deaf((issuer) => Effect.andThen(commands(issuer, 32), passes("10 seconds"))),
    last: "BYE slow consumer"
  },
  "server total": {
    settings: { maxTotalPending: 65_536 },
    run: deaf((issuer) => Effect.repeat(commands(issuer, 1), { times: 159 })),
    last: "BYE slow consumer"
  },
  unauthenticated: {
    guarded: true,
    run: Effect.gen(function* () {
      const client = yield* connect()
      client.reading = false
      yield* say(client, ...Array.from({ length: 2000 }, () => "x"))
      client.resume()
      return client
    }),
    last: "BYE slow consumer"
  },
  "wrong token": {
    guarded: true,
    run: saying("AUTH wrong"),
    last: "ERROR - not authorized: wrong token"
  },
  "token for another name": {
    guarded: true,
    run: Effect.tap(connect("boss"), (client) => say(client, "AUTH worker")),
    last: "ERROR - not authorized: wrong token"
  },
  "too many connections": {
    settings: { maxConnections: 1 },
    run: Effect.andThen(another, connect()),
    last: "ERROR - server full: too many connections"
  },
  "too many connections from the address": {
    settings: { maxConnectionsPerAddress: 1 },
    run: Effect.gen(function* () {
      yield* (yield* Network).connectFrom("10.0.0.9:2")
      return yield* connect()
    }),
    last: "ERROR - server full: too many connections from your address"
  },
  "too many unauthenticated": {
    guarded: true,
    settings: { maxUnauthenticated: 1 },
    run: Effect.tap(connect(), () => another),
    last: "ERROR - busy: too many connections that have shown no token"
  },
  "no name in the certificate": {
    run: connect("m7"),
    last: "ERROR - not authorized: your certificate names nobody"
  },
  "no token in time": {
    guarded: true,
    run: Effect.tap(connect(), () => passes("2 seconds")),
    last: "BYE timed out"
  },
  "no seat in time": {
    settings: { admission: "hello" },
    run: Effect.gen(function* () {
      yield* say(yield* another, hello({ name: "boss" }))
      const client = yield* saying(hello({ name: "boss" }))
      yield* passes("2 seconds")
      return client
    }),
    last: '{"_tag":"Bye","reason":"timed out"}'
  },
  "group full": { settings: { maxClients: 1 }, run: Effect.andThen(another, connect()), last: "ERROR - server full" },
  "name taken": {
    guarded: true,
    run: Effect.gen(function* () {
      yield* say(yield* another, "AUTH worker")
      return yield* saying("AUTH worker")
    }),
    last: "ERROR - name taken"
  },
  "server shutting down": {
    run: Effect.gen(function* () {
      const issuer = yield* another
      yield* another
      // The server waits for it to end.
      yield* say(issuer, "EXEC#x 1 x")
      yield* Effect.forkChild((yield* Network).stop)
      yield* settled
      return yield* connect()
    }),
    last: "ERROR - shutting down"
  },
  quit: { run: saying("QUIT"), last: "BYE quit" },
  closed: { run: Effect.tap(connect(), (client) => Effect.sync(() => client.close())), last: /^RANK / },
  reset: { run: Effect.tap(connect(), (client) => Effect.sync(() => client.reset())), last: /^RANK / },
  heartbeat: {
    run: Effect.tap(saying(hello({ heartbeat: 1000 })), () => passes("4 seconds")),
    last: '{"_tag":"Bye","reason":"timed out"}'
  },
  "line too long": { settings: { maxLine: 512 }, run: saying("x".repeat(600)), last: "ERROR 0 line too long" },
  http: { run: saying("SEARCH / HTTP/1.1"), last: /^RANK / },
  tls: { run: Effect.tap(connect(), (client) => Effect.sync(() => client.send("\x16\x03\x01"))), last: /^RANK / },
  "not UTF-8": {
    run: Effect.tap(connect(), (client) => Effect.sync(() => client.send(Buffer.from("\xff\n", "latin1")))),
    last: /^RANK /
  },
  "token revoked": {
    guarded: true,
    run: Effect.tap(saying("AUTH all"), () => Effect.map(settled, () => revokeAll())),
    last: "BYE kicked"
  },
  "resumed elsewhere": {
    settings: { grace: Duration.seconds(5) },
    run: Effect.gen(function* () {
      const client = yield* connect()
      const { resume } = JSON.parse((yield* say(client, hello())).at(-1) ?? "")
      yield* say(yield* another, hello({ resume }))
      yield* passes("100 millis")
      return client
    }),
    last: '{"_tag":"Bye","reason":"kicked"}'
  },
  "shutting down": {
    run: Effect.gen(function* () {
      const client = yield* connect()
      yield* Effect.forkChild((yield* Network).stop)
      return client
    }),
    last: "BYE shutting down"
  },
  "internal error": { guarded: true, run: saying("AUTH defect") }
}

describe("a session that ends", () => {
  it.effect.each(Object.entries(scenarios))("names its cause in the events: %s", ([cause, scenario]) => {
    const { guarded = false, last, run, settings = {} } = scenario
    return Effect.gen(function* () {
      const { events } = yield* Network
      const happened: Array<ReadonlyArray<string>> = []
      const note = (event: string, address: string, ...more: ReadonlyArray<string>) => {
        if (address === ADDRESS) happened.push([event, ...more])
      }
      yield* events.observe({
        opened: (address) => note("opened", address),
        closed: (address, cause) => note("closed", address, cause),
        refused: (address, cause, reason) => note("refused", address, cause, reason),
        authFailed: (address, cause) => note("authFailed", address, cause),
        slowConsumer: (address, _, cause) => note("slowConsumer", address, cause),
        otherProtocol: (address, _, cause) => note("otherProtocol", address, cause)
      })
      const client = yield* run
      yield* passes("15 seconds")
      const heard = client.lines().at(-1)
      if (last instanceof RegExp) assert.match(heard ?? "", last)
      else assert.strictEqual(heard, last)
      const known = cause as CloseCause
      const authFailed = cause === "wrong token" || cause === "token for another name"
      // The reason is the one that the client gets.
      const reason = /(?:ERROR -|BYE) ([a-z ]+)/.exec(`${last}`)?.[1] ?? /"reason":"(.*?)"/.exec(`${last}`)?.[1] ?? ""
      assert.deepStrictEqual(happened, [
        ["opened"],
        ...(authFailed ? [["authFailed", cause]] : []),
        ...(isSlowConsumer(known) ? [["slowConsumer", cause]] : []),
        ...(isOtherProtocol(known) ? [["otherProtocol", cause]] : []),
        ...(isRefusal(known) ? [["refused", cause, reason]] : []),
        ["closed", cause]
      ])
      if (isRefusal(known)) assert.strictEqual(events.stats.refusals[known], 1)
      assert.deepStrictEqual<object>(events.stats.otherProtocols, isOtherProtocol(known) ? { [cause]: 1 } : {})
      assert.deepStrictEqual<object>(events.stats.slowConsumers, isSlowConsumer(known) ? { [cause]: 1 } : {})
    }).pipe(Effect.scoped, server(settings, [], guarded ? access : undefined))
  })

  it.effect("keeps the first of two causes", () =>
    Effect.gen(function* () {
      const { events } = yield* Network
      const causes: Array<CloseCause> = []
      yield* events.observe({ closed: (_, cause) => causes.push(cause) })
      const client = yield* connect()
      yield* say(client, "AUTH all")
      client.send("QUIT\n")
      revokeAll()
      assert.deepStrictEqual(yield* Effect.map(settled, () => client.lines().at(-1)), "BYE kicked")
      client.reset()
      yield* passes("3 seconds")
      assert.deepStrictEqual(causes, ["token revoked"])
    }).pipe(Effect.scoped, server({}, [], access))
  )

  it.effect("as one of too many that have shown no token, does so before its token is checked", () => {
    const slow: AccessPolicy = {
      ...access,
      authenticate: (token) => Effect.delay(access.authenticate(token), "1 second")
    }
    return Effect.gen(function* () {
      const { events } = yield* Network
      const client = yield* saying("AUTH all")
      yield* another
      yield* passes("5 seconds")
      assert.deepStrictEqual(client.lines(), ["ERROR - busy: too many connections that have shown no token"])
      assert.deepStrictEqual(events.stats.refusals, { "too many unauthenticated": 1, "no token in time": 1 })
      assert.strictEqual(events.stats.admissions, 0)
    }).pipe(server({ maxUnauthenticated: 1 }, [], slow))
  })
})
