/**
 * The whole server over real sockets against an oracle: after every step, each
 * client must have received exactly the lines that the oracle predicts, in order.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { client, serverLayer, type WireClient } from "../support/wire.ts"

const CAPACITY = 7

interface Seat {
  readonly id: string
  readonly wire: WireClient
  name?: string
  watching?: boolean
}

/** The order as a plain array, and the lines that follow from each change and each command. */
class Oracle {
  order: Array<Seat> = []
  readonly lines = new Map<Seat, Array<string>>()

  hears(seat: Seat, line: string): void {
    this.lines.set(seat, [...(this.lines.get(seat) ?? []), line])
  }

  /** A change of the order: watchers get it, and members whose rank changed get their rank. */
  change(after: Array<Seat>, event: string): void {
    const before = this.order
    this.order = after
    for (const seat of before) if (seat.watching && after.includes(seat)) this.hears(seat, event)
    for (const [rank, seat] of after.entries()) {
      if (before.indexOf(seat) !== rank) this.hears(seat, `RANK ${rank} ${after.length} E ${seat.id}`)
    }
  }

  /** The targets of `to`, seen from `rank`; or why there are none. */
  reach(rank: number, to: string): ReadonlyArray<Seat> | string {
    if (to === "*") return rank + 1 < this.order.length ? this.order.slice(rank + 1) : "nobody below"
    const who = this.order.findIndex((seat) => to === `@${seat.id}` || to === `@${seat.name}`)
    if (to.startsWith("@") && who < 0) return "no such member"
    const [first = who, last = first] = to.startsWith("@") ? [] : to.split("-").map(Number)
    if (first <= rank) return "rank too high"
    return last < this.order.length ? this.order.slice(first, last + 1) : "no such rank"
  }
}

const To = Schema.Literals([
  "0",
  "1",
  "2",
  "3",
  "6",
  "9",
  "0-2",
  "1-2",
  "2-5",
  "3-3",
  "1-9",
  "*",
  "@a",
  "@b",
  "@m1",
  "@m3",
  "@m5",
  "@m99"
])
const Whom = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99 }))
const Step = Schema.Union([
  Schema.TaggedStruct("Join", {}),
  Schema.TaggedStruct("Join", {}),
  Schema.TaggedStruct("Leave", { whom: Whom, how: Schema.Literals(["end", "reset", "quit", "too long"]) }),
  Schema.TaggedStruct("Yield", { whom: Whom }),
  Schema.TaggedStruct("Name", { whom: Whom, name: Schema.Literals(["a", "b", "m1"]) }),
  Schema.TaggedStruct("Watch", { whom: Whom, on: Schema.Boolean }),
  /** Lines that are all sent before any answer comes. */
  Schema.TaggedStruct("Say", {
    whom: Whom,
    what: Schema.NonEmptyArray(
      Schema.Tuple([Schema.Literals(["EXEC", "exec", "EXPLAIN", "RANKS", "FROB", "EXEC 01"]), To])
    )
  })
])
type Step = typeof Step.Type

const lineOf = ([verb, to]: readonly [string, string]): string => {
  if (verb === "EXPLAIN") return `EXPLAIN ${to}`
  if (verb === "EXEC 01") return "EXEC 01 x"
  return /^exec$/i.test(verb) ? `${verb} ${to} cmd ${to}` : verb
}

const normal = (line: string) => line.replace(/^(RANK \d+ \d+|END \d+) \d+/, "$1 E")

const REASON = { end: "closed", reset: "reset", quit: "quit", "too long": "line too long" } as const

/** The last line of a client that leaves. */
const LAST_WORDS = {
  end: [],
  reset: [],
  quit: ["BYE quit"],
  "too long": ["ERROR <rank> line too long"]
} as const

const run = Effect.fnUntraced(function* (steps: ReadonlyArray<Step>) {
  const oracle = new Oracle()
  const epochs = new Map<Seat, number>()
  let admitted = 0
  let barriers = 0

  const join = Effect.gen(function* () {
    const wire = yield* client
    if (oracle.order.length === CAPACITY) {
      assert.deepStrictEqual(yield* wire.untilClosed, ["ERROR - server full"])
      return
    }
    const seat: Seat = { id: `m${++admitted}`, wire }
    oracle.change([...oracle.order, seat], `JOINED ${oracle.order.length} ${seat.id}`)
  })

  /** All lines for all clients, once the server has executed everything that was sent before. */
  const hearAll = Effect.gen(function* () {
    const ping = `${++barriers}`
    for (const { wire } of oracle.order) wire.send(`PING ${ping}`)
    return yield* Effect.forEach(oracle.order, ({ wire }) =>
      Effect.map(
        wire.until((line) => line === `PONG ${ping}`),
        (heard) => heard.slice(0, -1)
      )
    )
  })

  /** Compares the lines that all clients received since the last time with the prediction. */
  const check = Effect.gen(function* () {
    // In the first round, a sender's answers may come after the lines for others; after the second, all have come.
    const before = yield* hearAll
    const after = yield* hearAll
    for (const [rank, seat] of oracle.order.entries()) {
      const heard = [...before[rank]!, ...after[rank]!]
      for (const line of heard.filter((line) => line.startsWith("RANK"))) {
        const epoch = Number(line.split(" ")[3])
        assert.isAbove(epoch, epochs.get(seat) ?? 0)
        epochs.set(seat, epoch)
      }
      assert.deepStrictEqual(heard.map(normal), oracle.lines.get(seat) ?? [], seat.id)
    }
    oracle.lines.clear()
  })

  // One watcher never leaves: its lines show that the server has processed a departure.
  yield* join
  yield* check
  const warden = oracle.order[0]!
  warden.wire.send("WATCH")
  yield* warden.wire.until((line) => line.startsWith("END"))
  warden.watching = true

  for (const step of steps) {
    if (step._tag === "Join") {
      yield* join
      yield* check
      continue
    }
    const rank = Math.floor((step.whom / 100) * oracle.order.length)
    const seat = oracle.order[rank]!
    switch (step._tag) {
      case "Leave": {
        if (seat === warden) break
        const event = `LEFT ${rank} ${seat.id} ${REASON[step.how]}`
        if (step.how === "end") seat.wire.socket.end("EXEC * in the middle of a li")
        if (step.how === "reset") seat.wire.socket.resetAndDestroy()
        if (step.how === "quit") seat.wire.send("QUIT", "EXEC * too late")
        if (step.how === "too long") seat.wire.send("x".repeat(3000))
        oracle.change(
          oracle.order.filter((other) => other !== seat),
          event
        )
        const heard = yield* warden.wire.until((line) => line === event)
        warden.wire.heard.unshift(...heard)
        assert.deepStrictEqual(
          yield* seat.wire.untilClosed,
          LAST_WORDS[step.how].map((line) => line.replace("<rank>", `${rank}`))
        )
        break
      }
      case "Yield":
        seat.wire.send("YIELD")
        if (rank === oracle.order.length - 1) oracle.hears(seat, `RANK ${rank} ${rank + 1} E ${seat.id}`)
        else {
          oracle.change(
            [...oracle.order.filter((other) => other !== seat), seat],
            `MOVED ${rank} ${oracle.order.length - 1} ${seat.id}`
          )
        }
        break
      case "Name": {
        seat.wire.send(`NAME ${step.name}`)
        const holder = oracle.order.find((other) => other.name === step.name)
        if (step.name === "m1") {
          oracle.hears(
            seat,
            `ERROR ${rank} malformed: expected a name: 1-64 of A-Z a-z 0-9 . _ -, not like a member id, not a lone -`
          )
        } else if (holder !== undefined && holder !== seat) {
          oracle.hears(seat, `ERROR ${rank} name taken`)
        } else {
          seat.name = step.name
          for (const other of oracle.order) {
            if (other.watching || other === seat) oracle.hears(other, `NAMED ${rank} ${seat.id} ${step.name}`)
          }
        }
        break
      }
      case "Watch":
        if (seat === warden) break
        seat.wire.send(step.on ? "WATCH" : "UNWATCH")
        seat.watching = step.on
        if (step.on) listing(seat)
        break
      case "Say":
        seat.wire.send(...step.what.map(lineOf))
        for (const [verb, to] of step.what) said(seat, rank, verb, to)
    }
    yield* check
  }

  function listing(seat: Seat): void {
    for (const [rank, { id, name, wire }] of oracle.order.entries()) {
      oracle.hears(seat, `MEMBER ${rank} ${id} ${name ?? "-"} ${wire.address}`)
    }
    oracle.hears(seat, `END ${oracle.order.length} E`)
  }

  function said(seat: Seat, rank: number, verb: string, to: string): void {
    if (verb === "RANKS") {
      listing(seat)
    } else if (verb === "FROB") {
      oracle.hears(seat, `ERROR ${rank} unknown command: try HELP`)
    } else if (verb === "EXEC 01") {
      oracle.hears(seat, `ERROR ${rank} malformed: expected a rank (3), a range (2-5), *, @name or @m7`)
    } else {
      const reached = oracle.reach(rank, to)
      if (typeof reached === "string") {
        oracle.hears(seat, `ERROR ${rank} ${reached}`)
      } else if (verb === "EXPLAIN") {
        const targets = reached.map((target) => `${oracle.order.indexOf(target)}:${target.id}`)
        oracle.hears(seat, ["TARGETS", targets.length, ...targets].join(" "))
      } else {
        for (const target of reached) oracle.hears(target, `EXEC ${rank} cmd ${to}`)
      }
    }
  }
})

describe("the server, over real sockets", () => {
  it.live.prop(
    "sends every client exactly what the oracle predicts",
    [Schema.Array(Step).check(Schema.isMinLength(20), Schema.isMaxLength(60))],
    ([steps]) => run(steps).pipe(Effect.scoped, Effect.provide(serverLayer({ maxClients: CAPACITY, maxLine: 2000 }))),
    { timeout: 120_000, arbitrary: { runs: 60, maxShrinks: 200 } }
  )
})
