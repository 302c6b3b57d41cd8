/**
 * Leases in any order of events, against two oracles: an array of the members, and the times at which the clients may
 * act. A client that is lost acts for as long as its lease lets it; each resume is by another process.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Schema } from "effect"
import type { MemorySocket } from "../../support/MemorySocket.ts"
import { Network, passes, say, server, settled } from "../../support/memoryServer.ts"

/** How often each client says something. */
const PERIOD = 100

const Whom = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99 }))
/** 0 stands for a client without a lease. */
const Heartbeat = Schema.Literals([0, 400, 1000])
const Step = Schema.Union([
  Schema.TaggedStruct("Join", { heartbeat: Heartbeat }),
  /** `freeze` is a connection that stays, and on which the client says nothing more. */
  Schema.TaggedStruct("Lose", { whom: Whom, how: Schema.Literals(["reset", "close", "too long", "freeze"]) }),
  Schema.TaggedStruct("Lose", { whom: Schema.Literal(0), how: Schema.Literals(["reset", "freeze"]) }),
  Schema.TaggedStruct("Depart", { whom: Whom, how: Schema.Literals(["Quit", "Yield"]) }),
  /** A member says `Hello` again. */
  Schema.TaggedStruct("Change", { whom: Whom, heartbeat: Heartbeat }),
  /** Another process shows the token of an absent member. */
  Schema.TaggedStruct("Return", { whom: Whom, heartbeat: Heartbeat }),
  Schema.TaggedStruct("Return", { whom: Schema.Literal(0), heartbeat: Heartbeat }),
  Schema.TaggedStruct("Pass", { millis: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1500 })) })
])

/** A process on one connection. */
interface Client {
  readonly socket: MemorySocket
  /** 0 without a lease. */
  heartbeat: number
  heardAt: number
  /** The end of the leases that it had before: for itself, and for the server. */
  earlier: { readonly own: number; readonly server: number }
  /** From when and until when it acts on rank 0, if its lease lets it. */
  from: number
  until: number
  frozen: boolean
}

interface Known {
  readonly member: string
  token: string
  client: Client
  absentUntil: number | undefined
  /** Once it is absent: when its lease on rank 0 has ended. */
  leasedUntil: number
}

const run = Effect.fnUntraced(function* (steps: ReadonlyArray<typeof Step.Type>, grace: number) {
  const network = yield* Network
  const observer = yield* network.connect
  yield* say(observer, '{"_tag":"Join","group":"default"}')
  let now = 0
  let order: Array<Known> = []
  const clients: Array<Client> = []
  /** Until then a former leader may act whose rank another client has taken over. */
  let deferred = 0

  /** When the client stops by itself, if nothing else stops it. */
  const stops = ({ earlier, heardAt, heartbeat, until }: Client) =>
    Math.min(until, Math.max(earlier.own, heardAt + 2 * heartbeat))

  /** What the client has received. */
  const hear = (client: Client) => {
    for (const line of client.socket.lines()) {
      const { _tag, leadIn = 0, rank } = JSON.parse(line)
      if (_tag !== "Rank" && _tag !== "Welcome") continue
      if (rank !== 0) client.until = Math.min(client.until, now)
      else if (client.heartbeat > 0 && client.from === Number.POSITIVE_INFINITY) {
        client.from = now + leadIn
        client.until = Number.POSITIVE_INFINITY
      }
    }
  }

  /** No two clients act at the same time. */
  const judge = () => {
    const acting = clients.filter((client) => client.from <= now && now < stops(client))
    assert.isAtMost(acting.length, 1, `two act at ${now}`)
  }

  /** The connection of this member is lost. */
  const lose = (one: Known, at: number, mayReturn: boolean) => {
    const { earlier, heardAt, heartbeat } = one.client
    const own = heartbeat === 0 ? 0 : Math.max(earlier.server, heardAt + 2.5 * heartbeat)
    one.leasedUntil = one === order[0] ? Math.max(deferred, own) : 0
    one.absentUntil = Math.max(one.leasedUntil, mayReturn ? at + grace : at)
  }

  /** The server gives up a leader that is silent, and reservations end. */
  const expire = () => {
    const leader = order[0]
    if (leader?.client.frozen && leader.absentUntil === undefined) {
      const end = leader.client.heardAt + 2.5 * leader.client.heartbeat
      if (end <= now) lose(leader, end, true)
    }
    order = order.filter(({ absentUntil }) => absentUntil === undefined || absentUntil > now)
  }

  const pass = Effect.fnUntraced(function* (millis: number) {
    for (let left = millis; left > 0; left -= PERIOD) {
      now += Math.min(PERIOD, left)
      yield* passes(Math.min(PERIOD, left))
      expire()
      for (const { absentUntil, client } of order) {
        if (absentUntil !== undefined || client.frozen) continue
        client.socket.send('{"_tag":"Pong"}\n')
        client.heardAt = now
      }
      yield* settled
      for (const client of clients) hear(client)
      judge()
    }
  })

  const hello = Effect.fnUntraced(function* (heartbeat: number, resume?: string) {
    const socket = yield* network.connect
    const lease = heartbeat === 0 ? {} : { heartbeat, lease: true }
    const never = Number.POSITIVE_INFINITY
    const client = {
      socket,
      heartbeat,
      heardAt: now,
      earlier: { own: 0, server: 0 },
      from: never,
      until: never,
      frozen: false
    }
    socket.send(`${JSON.stringify({ _tag: "Hello", protocol: 1, ...lease, resume })}\n`)
    yield* settled
    const lines = socket.lines()
    const welcome = JSON.parse(lines[0] ?? "{}")
    if (welcome.rank === 0 && heartbeat > 0) client.from = now + (welcome.leadIn ?? 0)
    clients.push(client)
    judge()
    return { client, member: welcome.member as string, token: welcome.resume as string }
  })

  for (const step of steps) {
    const pick = <A>(from: ReadonlyArray<A>) =>
      "whom" in step ? from[Math.floor((step.whom / 100) * from.length)] : undefined
    const there = pick(order.filter(({ absentUntil, client }) => absentUntil === undefined && !client.frozen))
    switch (step._tag) {
      case "Join":
        order.push({ ...(yield* hello(step.heartbeat)), absentUntil: undefined, leasedUntil: 0 })
        break
      case "Lose": {
        if (there === undefined) break
        if (step.how === "freeze") {
          if (there.client.heartbeat > 0 && order[0] === there) there.client.frozen = true
          break
        }
        if (step.how === "reset") there.client.socket.reset()
        if (step.how === "close") there.client.socket.close()
        if (step.how === "too long") there.client.socket.send("x".repeat(5000))
        if (step.how === "too long") there.client.heardAt = now
        lose(there, now, step.how !== "too long" && there.token !== undefined)
        break
      }
      case "Depart":
        if (there === undefined) break
        // Its work has ended, and then it says so.
        there.client.until = Math.min(there.client.until, now)
        there.client.heardAt = now
        there.client.socket.send(`{"_tag":"${step.how}"}\n`)
        order = order.filter((one) => one !== there)
        if (step.how === "Yield") {
          there.client.from = Number.POSITIVE_INFINITY
          there.client.until = Number.POSITIVE_INFINITY
          order.push(there)
        }
        break
      case "Change": {
        if (there === undefined || there.client.heartbeat === 0 || step.heartbeat === 0) break
        const { client } = there
        client.earlier = {
          own: Math.max(client.earlier.own, now + 2 * client.heartbeat),
          server: Math.max(client.earlier.server, now + 2.5 * client.heartbeat)
        }
        client.heartbeat = step.heartbeat
        client.heardAt = now
        const fields = { _tag: "Hello", protocol: 1, heartbeat: step.heartbeat, lease: true }
        client.socket.send(`${JSON.stringify(fields)}\n`)
        yield* settled
        const welcome = client.socket
          .lines()
          .map((line) => JSON.parse(line))
          .find(({ _tag }) => _tag === "Welcome")
        there.token = welcome.resume
        break
      }
      case "Return": {
        const one = pick(order.filter(({ absentUntil }) => absentUntil !== undefined))
        if (one === undefined || one.token === undefined) break
        deferred = Math.max(deferred, one.leasedUntil)
        const { client, member, token } = yield* hello(step.heartbeat, one.token)
        assert.deepStrictEqual([member, token], [one.member, one.token])
        one.client = client
        one.absentUntil = undefined
        break
      }
      case "Pass":
        yield* pass(step.millis)
    }
    yield* settled
    expire()
    // The observer never stays before another member.
    yield* say(observer, '{"_tag":"Yield"}')
    for (const client of clients) hear(client)
    judge()
    const [list] = (yield* say(observer, '{"_tag":"Ranks"}')).map((line) => JSON.parse(line)).slice(-1)
    const members = (list.members as ReadonlyArray<{ member: string; address: string }>).slice(0, -1)
    assert.deepStrictEqual(
      members.map(({ address, member }) => `${member} ${address}`),
      order.map(({ absentUntil, member }) => `${member} ${absentUntil === undefined ? "unknown" : "absent"}`)
    )
  }
})

describe("leases", () => {
  it.effect.prop(
    "let no two clients act, and keep no place for longer than they must, in any order of events",
    [Schema.Array(Step).check(Schema.isMinLength(10), Schema.isMaxLength(40)), Schema.Literals([0, 1500])],
    ([steps, grace]) =>
      run(steps, grace).pipe(
        server({ grace: Duration.millis(grace), settle: Duration.zero, admission: "hello", maxLine: 4096 })
      ),
    { timeout: 120_000, arbitrary: { runs: 100, size: 40 } }
  )
})
