import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Events, type Observer } from "../../../src/server/events/Events.ts"
import { Stats } from "../../../src/server/events/Stats.ts"
import { Network, passes, say, server } from "../../support/memoryServer.ts"

/** Without `observerFailed`: the server has no such event of its own. */
type Method = Exclude<keyof Observer, "observerFailed">

/** Every event with arguments of its own. */
const everything: { readonly [method in Method]: Parameters<NonNullable<Observer[method]>> } = {
  opened: ["10.0.0.1:5"],
  closed: ["10.0.0.1:5", "internal error", "a defect"],
  refused: ["10.0.0.1:5", "group full", "server full", "for the operator"],
  authFailed: ["10.0.0.1:5", "wrong token"],
  joined: ["m1", "ann", "jobs", "10.0.0.1:5"],
  lost: ["m1", undefined, "jobs", "10.0.0.1:5", "reset"],
  resumed: ["m1", "ann", "jobs", "10.0.0.1:6"],
  left: ["m1", "ann", "jobs", "10.0.0.1:6", "quit"],
  moved: ["m1", "ann", "jobs", 0, 4],
  named: ["m1", "ann", "jobs"],
  leaderChanged: ["m2", undefined, "jobs", 7],
  rejected: ["10.0.0.1:5", "m1", "malformed"],
  slowConsumer: ["10.0.0.1:5", "m1", "pending bytes"],
  otherProtocol: ["10.0.0.1:5", undefined, "tls"],
  commandOpened: ["m1", "job", 3],
  deliveryEnded: ["m1", "job", "m2", "lost"],
  endedWithoutIssuer: ["m1", "job", ["m2=lost", "m3=0"]],
  lateResults: [4]
}

const methods = Object.keys(everything) as ReadonlyArray<Method>

const emit = (events: Events, method: Method): void => {
  Reflect.apply(events[method], events, everything[method])
}

/** An observer that notes every event with its own name and the arguments. */
const recorder = (name: string, happened: Array<ReadonlyArray<unknown>>): Observer =>
  Object.fromEntries(
    methods.map((method) => [method, (...args: Array<unknown>) => happened.push([name, method, ...args])])
  )

describe("observers", () => {
  it.effect("get every event with all its arguments, in the order in which they were added", () =>
    Effect.gen(function* () {
      const events = new Events()
      const happened: Array<ReadonlyArray<unknown>> = []
      for (const name of ["first", "second"]) yield* events.observe(recorder(name, happened))
      for (const method of methods) emit(events, method)
      assert.deepStrictEqual(
        happened,
        methods.flatMap((method) => ["first", "second"].map((name) => [name, method, ...everything[method]]))
      )
    }).pipe(Effect.scoped)
  )

  it.effect("need no method for what they do not care for", () =>
    Effect.gen(function* () {
      const events = new Events()
      const members: Array<string> = []
      yield* events.observe({})
      yield* events.observe({ left: (member) => members.push(member) })
      for (const method of methods) emit(events, method)
      assert.deepStrictEqual(members, ["m1"])
    }).pipe(Effect.scoped)
  )

  it.effect("get nothing before they are added, and nothing after their scope has closed", () =>
    Effect.gen(function* () {
      const events = new Events()
      const happened: Array<ReadonlyArray<unknown>> = []
      const names = () => happened.splice(0).map(([name]) => name)
      const emitOne = Effect.sync(() => emit(events, "opened"))
      yield* emitOne
      yield* events.observe(recorder("outer", happened))
      yield* Effect.scoped(Effect.andThen(events.observe(recorder("inner", happened)), emitOne))
      assert.deepStrictEqual(names(), ["outer", "inner"])
      yield* emitOne
      assert.deepStrictEqual(names(), ["outer"])
    }).pipe(Effect.scoped)
  )

  it.effect("that are added twice stay as often as they were added, less those whose scopes have closed", () =>
    Effect.gen(function* () {
      const events = new Events()
      const happened: Array<ReadonlyArray<unknown>> = []
      const observer = recorder("same", happened)
      yield* events.observe(observer)
      yield* Effect.scoped(events.observe(observer))
      emit(events, "opened")
      assert.strictEqual(happened.length, 1)
    }).pipe(Effect.scoped)
  )
})

/** What each event changes of the counters; nothing where it is missing. */
const counted: { readonly [method in Method]?: Partial<{ -readonly [name in keyof Stats]: Stats[name] }> } = {
  opened: { connectionsOpened: 1 },
  closed: { connectionsClosed: 1 },
  refused: { refusals: { "group full": 1 } },
  joined: { admissions: 1 },
  resumed: { resumptions: 1 },
  left: { departures: { quit: 1 } },
  rejected: { rejections: { malformed: 1 } },
  slowConsumer: { slowConsumers: { "pending bytes": 1 } },
  otherProtocol: { otherProtocols: { tls: 1 } },
  commandOpened: { trackedCommands: 1 },
  deliveryEnded: { outcomes: { lost: 1 } },
  lateResults: { lateResults: 4 }
}

describe("the counters", () => {
  it.each(methods)("of %s count what happened, whether or not anybody observes it, and nothing else", (method) => {
    const events = new Events()
    emit(events, method)
    assert.deepStrictEqual({ ...events.stats }, { ...new Stats(), ...counted[method] })
  })

  it("have one for each reason, cause and outcome; an exit code is ok or failed", () => {
    const events = new Events()
    for (const status of [0, 7, 255, 0, "lost", "timeout", "lost"]) events.deliveryEnded("m1", "x", "m2", status)
    for (const reason of ["malformed", "busy", "malformed"]) events.rejected("a", undefined, reason)
    for (const cause of ["unauthenticated", "server total", "unauthenticated"] as const) {
      events.slowConsumer("a", undefined, cause)
    }
    assert.deepStrictEqual(events.stats.outcomes, { ok: 2, failed: 2, lost: 2, timeout: 1 })
    assert.deepStrictEqual(events.stats.rejections, { malformed: 2, busy: 1 })
    assert.deepStrictEqual(events.stats.slowConsumers, { unauthenticated: 2, "server total": 1 })
  })

  it.effect("of a server add up", () =>
    Effect.gen(function* () {
      const { connect, events } = yield* Network
      const [a, b, c] = [yield* connect, yield* connect, yield* connect]
      assert.deepStrictEqual(c.lines(), ["ERROR - server full"])
      const rank = [...a.lines(), ...b.lines()]
      const said = ["EXEC * x", "EXEC#x 1 y", "EXEC 0 z", "nonsense", "NAME ann", "JOIN other"]
      const heard = yield* say(a, ...said)
      assert.deepStrictEqual(heard.slice(1, 3), ["ERROR 0 unknown command: try HELP", "NAMED 0 m1 ann"])
      const executed = yield* say(b, "RESULT#1 0", "RESULT#1 0", "QUIT")
      // Late results are counted by a sweep.
      yield* passes("100 millis")
      const bytes = (lines: ReadonlyArray<string>) => Buffer.byteLength(lines.map((line) => `${line}\n`).join(""))
      const { stats } = events
      const { bytesReceived, bytesSent, ...others } = stats
      assert.strictEqual(bytesReceived, bytes([...said, "RESULT#1 0", "RESULT#1 0", "QUIT"]))
      assert.strictEqual(bytesSent, bytes(["ERROR - server full", ...rank, ...heard, ...executed, ...a.lines()]))
      assert.deepStrictEqual(others, {
        connectionsOpened: 3,
        // The connection of the third one lingers until it closes, too.
        connectionsClosed: 0,
        admissions: 3,
        resumptions: 0,
        departures: { "joined another group": 1, quit: 1 },
        refusals: { "group full": 1 },
        rejections: { "rank too high": 1, "unknown command": 1 },
        untrackedCommands: 1,
        untracked: { delivered: 1, missed: 0, denied: 0 },
        trackedCommands: 1,
        outcomes: { ok: 1 },
        lateResults: 1,
        slowConsumers: {},
        otherProtocols: {}
      })
    }).pipe(server({ maxClients: 2 }))
  )
})
