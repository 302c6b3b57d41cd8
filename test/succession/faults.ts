/** What goes wrong in the simulated world, chosen by chance; and what the rule promises for a fault on its own. */
import { Effect } from "effect"
import type { Random } from "../../fault/random.ts"
import type { Judge } from "./Judge.ts"
import type { Direction, Line } from "./Line.ts"
import type { Machine } from "./Machine.ts"
import type { Candidate, Kind, World } from "./World.ts"

/** How long a process that was paused may run on before it looks at its lease, in milliseconds. */
const LOOK = 110

/** What faults need of a run. All times are in milliseconds. */
export interface Scene {
  readonly world: World
  readonly judge: Judge
  readonly random: Random
  readonly now: () => number
  readonly note: (...words: ReadonlyArray<unknown>) => void
  /** How many seats of lost clients the server keeps, if it keeps any. */
  readonly crowd: number
  /** Processes that may have the resume token of another one. */
  readonly sharers: Set<Candidate>
  /** Ends a fault. Until then the world is not whole, unless the fault only makes this candidate unable to act. */
  readonly after: (millis: number, heal: Effect.Effect<unknown>, lost?: Candidate) => void
  /** The same at a random time, in `most` at the latest. */
  readonly later: Scene["after"]
  readonly join: (as?: Partial<Kind>) => Effect.Effect<Candidate>
  readonly newMachine: () => Machine
}

type Fault = (scene: Scene, candidate: Candidate, isLeader: boolean) => Effect.Effect<unknown>

const eachLine = ({ lines }: Candidate, act: (line: Line) => void) => {
  for (const line of lines) act(line)
}

/** Does this to the lines of the candidate, and ends it later. */
const onLines =
  (act: (line: Line, scene: Scene) => void, most = 8000): Fault =>
  (scene, candidate) =>
    Effect.sync(() => {
      const lines = [...candidate.lines]
      for (const line of lines) act(line, scene)
      const heal = Effect.sync(() => {
        for (const line of lines) line.heal(candidate.kind.delay)
      })
      scene.later(most, heal)
    })

const pause =
  (how: "freeze" | "suspend", before: (line: Line, scene: Scene) => void = () => {}): Fault =>
  (scene, candidate, isLeader) =>
    Effect.sync(() => {
      const { after, judge, later, note, now, random } = scene
      const { excused, kind, machine } = candidate
      const lines = [...candidate.lines]
      for (const line of lines) before(line, scene)
      // Elsewhere than on Linux the lease does not count a suspend.
      machine[kind.hasUptime ? how : "freeze"]()
      const resume = Effect.sync(() => {
        machine.resume()
        if (candidate.work !== "none") {
          Object.assign(excused, { look: now() + LOOK, end: now() + LOOK + kind.stopMillis * 1.02 })
        }
        note(candidate.id, "continues")
      })
      const connect = Effect.sync(() => {
        candidate.reachable = true
        for (const line of lines) line.heal(kind.delay)
      })
      // After a suspend the network often comes back later than the machine.
      if (random.chance(how === "suspend" ? 0.8 : 0.5)) {
        candidate.reachable = false
        for (const line of lines) line.stall("up", "down")
        const millis = random.next() * 3000
        after(millis, resume, candidate)
        after(millis + 2000 + random.next() * 5000, connect, candidate)
      } else later(9000, Effect.andThen(connect, resume), candidate)
      if (isLeader) judge.expectSuccessor(how, candidate, true)
    })

/**
 * Whether its work goes on after a loss of its connection that is over in a moment. The server delays connections that
 * take the seat from each other.
 */
const isPatient = ({ kind: { heartbeat, stopWithin }, sharesToken }: Candidate) =>
  heartbeat === 2000 && stopWithin <= heartbeat && !sharesToken

/** The connection breaks, and the client can connect again. */
const broken =
  (what: string, act: (line: Line, now: number) => void): Fault =>
  ({ judge, now }, candidate, isLeader) =>
    Effect.sync(() => {
      eachLine(candidate, (line) => act(line, now()))
      if (isLeader && isPatient(candidate)) judge.expectContinuity(what, candidate)
    })

/** A proxy passes nothing on, and may accept new connections meanwhile. */
const stall =
  (...directions: ReadonlyArray<Direction>): Fault =>
  ({ later, now, random }, candidate) =>
    Effect.sync(() => {
      const lines = [...candidate.lines]
      for (const line of lines) line.stall(...directions)
      if (random.chance(0.5)) candidate.stalls = directions
      // Or it has been restarted, and hangs.
      if (random.chance(0.3)) for (const line of lines) line.reset(now())
      const heal = Effect.sync(() => {
        candidate.stalls = []
        for (const line of new Set([...lines, ...candidate.lines])) line.heal(candidate.kind.delay)
      })
      later(8000, heal)
    })

const hello = (fields: object) => `${JSON.stringify({ _tag: "Hello", protocol: 1, ...fields })}\n`

/** What a client that is no candidate says last; it may also break off. */
const QUIT = '{"_tag":"Quit"}\n'
const JOIN = '{"_tag":"Join","group":"other"}\n'

/** A client without a lease, which leaves again. */
const bystander: Fault = ({ later, now, random, world }, candidate) =>
  Effect.sync(() => {
    const line = world.connect(candidate.kind.delay)
    const steals = candidate.resume !== undefined && random.chance(0.5)
    candidate.sharesToken ||= steals
    line.send(hello({ ...(steals ? { resume: candidate.resume } : {}), token: "bystander" }), now())
    // It would take the seat to another group, where the candidate would resume it.
    const lastWords = steals ? random.pick([QUIT, undefined]) : random.pick([QUIT, JOIN, undefined])
    const leave = Effect.sync(() => {
      if (lastWords === undefined) return line.reset(now())
      line.send(lastWords, now())
      return line.leave(now())
    })
    later(4000, leave)
  })

/** Two processes show the same resume token. */
const steal: Fault = ({ join, later, random, sharers, world }, candidate) =>
  Effect.gen(function* () {
    const thief = yield* join({ name: undefined })
    thief.steals = candidate.resume
    thief.sharesToken = true
    candidate.sharesToken = true
    // They take the seat from each other, until one of them no longer hears that it has lost it, or ends. A reset may
    // overtake the last words of the server.
    if (random.chance(0.5)) eachLine(candidate, (line) => line.loseLastWords())
    const deaf = random.chance(0.5) ? thief : candidate
    later(
      random.pick([300, 3000]),
      Effect.sync(() => eachLine(deaf, (line) => line.deafen()))
    )
    sharers.add(candidate).add(thief)
    const isKilled = random.chance(0.6)
    const end = Effect.suspend(() => {
      const alive = [...sharers].filter((sharer) => world.candidates.has(sharer))
      const stays = alive.length > 0 ? random.pick(alive) : undefined
      for (const sharer of sharers) if (sharer !== stays) sharers.delete(sharer)
      return Effect.forEach(alive, (sharer) => (sharer === stays ? Effect.void : world.leave(sharer, isKilled)))
    })
    later(6000, end)
  })

const cut: Fault = ({ judge, later, now, random }, candidate, isLeader) =>
  Effect.sync(() => {
    candidate.reachable = false
    const lines = [...candidate.lines]
    const isSilent = random.chance(0.5)
    for (const line of lines) {
      if (!isSilent) line.reset(now())
      else line.stall("up", "down")
    }
    const heal = Effect.sync(() => {
      candidate.reachable = true
      for (const line of lines) line.heal(candidate.kind.delay)
    })
    later(8000, heal, candidate)
    if (isLeader) judge.expectSuccessor("cut", candidate, isSilent)
  })

/** Asks for more than the server sends to a client that does not read. */
const leaveUnread = (line: Line, { now }: Scene) => {
  line.send(`${JSON.stringify({ _tag: "Ping", text: "x".repeat(900) })}\n`.repeat(400), now())
  line.stopReading()
}

const onCandidate: { readonly [fault: string]: Fault } = {
  reset: broken("reset", (line, now) => line.reset(now)),
  "end for the client": broken("end for the client", (line, now) => line.endForClient(now)),
  "line too long": broken("line too long", (line, now) => line.send("x".repeat(70_000), now)),
  "half-close": onLines((line, { now }) => line.halfClose(now()), 0),
  "late answers": ({ later, now }, candidate) =>
    Effect.sync(() => {
      const lines = [...candidate.lines]
      for (const line of lines) {
        line.deafen()
        line.stall("down")
      }
      const end = Effect.sync(() => {
        for (const line of lines) line.endForServer(now())
      })
      later(1000, end)
      const heal = Effect.sync(() => {
        for (const line of lines) line.heal(candidate.kind.delay)
      })
      later(4000, heal)
    }),
  "stall up": stall("up"),
  "stall down": stall("down"),
  "stall both": stall("up", "down"),
  delay: onLines((line, { random }) => line.slow(random.next() * 700)),
  cut,
  "break of a second": ({ after, judge, now, random }, candidate, isLeader) =>
    Effect.sync(() => {
      candidate.reachable = false
      const { stops } = candidate
      const before = judge.disturbances
      const lines = [...candidate.lines]
      const isSilent = random.chance(0.5)
      for (const line of lines) {
        if (!isSilent) line.reset(now())
        else line.stall("up", "down")
      }
      const heal = Effect.sync(() => {
        candidate.reachable = true
        for (const line of lines) line.heal(candidate.kind.delay)
        const isAlone = judge.disturbances === before + 1
        if (isLeader && isAlone && isPatient(candidate)) {
          judge.expectContinuity("a break of a second", candidate, stops)
        }
      })
      after(random.pick([1000, 1000 * random.next()]), heal)
    }),
  // The client counts on the larger lease until it hears the answer, which it never does.
  "smaller heartbeat": ({ later, now, random }, candidate) =>
    Effect.sync(() => {
      const lines = [...candidate.lines]
      for (const line of lines) {
        line.silence()
        line.send(hello({ heartbeat: 100, lease: true }), now())
      }
      const isSilent = random.chance(0.5)
      if (isSilent) for (const line of lines) line.stall("up")
      const end = Effect.sync(() => {
        for (const line of lines) {
          line.heal(candidate.kind.delay)
          line.endForServer(now())
        }
      })
      later(isSilent ? 3000 : 300, end)
    }),
  freeze: pause("freeze"),
  suspend: pause("suspend"),
  unread: pause("freeze", leaveUnread),
  "slow consumer": onLines(leaveUnread),
  finish: ({ judge }, candidate, isLeader) =>
    Effect.sync(() => {
      if (!candidate.machine.runs || candidate.work !== "runs") return
      candidate.finish()
      if (isLeader) judge.expectHandover("finish", candidate)
    }),
  kill: ({ judge, join, world }, candidate, isLeader) =>
    Effect.gen(function* () {
      yield* world.leave(candidate, true)
      const again = yield* join(candidate.kind)
      if (isLeader) judge.expectSuccessor("kill", candidate, !candidate.reachable, again)
    }),
  leave: ({ judge, join, world }, candidate, isLeader) =>
    Effect.gen(function* () {
      if (!candidate.machine.runs) return
      yield* world.leave(candidate, false)
      yield* join(candidate.kind)
      if (isLeader) judge.expectHandover("leave", candidate)
    }),
  kick: ({ judge, world }, candidate, isLeader) =>
    Effect.sync(() => {
      const isKicked = world.revoke(candidate)
      if (isKicked && isLeader) judge.expectSuccessor("kick", candidate, false)
    }),
  steal,
  bystander,
  // Then the candidate is lost, too.
  crowd: (scene, candidate, isLeader) =>
    Effect.suspend(() => {
      const { crowd, now, world } = scene
      for (let i = 0; i < crowd; i++) {
        const line = world.connect(0)
        line.send(hello({ heartbeat: 1000, token: "crowd" }), now())
        line.leave(now())
      }
      const lost = cut(scene, candidate, isLeader && crowd === 0)
      if (crowd === 0) return lost
      scene.after(10_000, Effect.void)
      scene.after(100, lost)
      return Effect.void
    })
}

/** Starts the server again. If it was away for a moment, the only candidate leads again and has never stopped. */
const restart = ({ judge, later, newMachine, random, world }: Scene, leader?: Candidate) => {
  const wait = random.pick([100, 100, 1000, 8000])
  const before = judge.disturbances
  const isAlone = () => wait <= 100 && world.candidates.size === 1 && judge.disturbances === before + 1
  const start = Effect.gen(function* () {
    if (world.server !== undefined) return
    yield* world.start(newMachine())
    if (leader !== undefined && isAlone() && isPatient(leader))
      judge.expectContinuity("a restart of the server", leader)
  })
  later(wait, start)
}

const pauseServer =
  (how: "freeze" | "suspend") =>
  ({ later, world }: Scene) =>
    Effect.sync(() => {
      const machine = world.server?.machine
      machine?.[how]()
      later(
        8000,
        Effect.sync(() => machine?.resume())
      )
    })

const onServer: { readonly [fault: string]: (scene: Scene, leader: Candidate | undefined) => Effect.Effect<unknown> } =
  {
    "the server is killed": (scene, leader) =>
      Effect.gen(function* () {
        const { world } = scene
        if (!world.server?.machine.runs) return
        yield* world.kill
        restart(scene, leader)
      }),
    "the server stops": (scene) =>
      Effect.gen(function* () {
        if (!scene.world.server?.machine.runs) return
        yield* Effect.forkDetach(
          Effect.andThen(
            scene.world.stop,
            Effect.sync(() => restart(scene))
          )
        )
      }),
    "the server freezes": pauseServer("freeze"),
    "the server is suspended": pauseServer("suspend")
  }

/** Makes a fault that is chosen by chance, of the kinds of this run. */
export const makeFaults = (scene: Scene): Effect.Effect<unknown> => {
  const { judge, note, random, world } = scene
  // A few kinds in each run: those that need each other meet more often.
  const all = Object.keys(onCandidate)
  const kinds = random.chance(0.2) ? all : Array.from({ length: random.pick([1, 2, 4]) }, () => random.pick(all))
  const serverFaults = world.candidates.size === 1 ? 0.4 : random.pick([0, 0.1, 0.3])
  return Effect.suspend(() => {
    const { leader } = judge
    judge.disturbed()
    if (random.chance(serverFaults)) {
      const name = random.pick(Object.keys(onServer))
      note(name)
      return onServer[name]?.(scene, leader) ?? Effect.void
    }
    const candidates = [...world.candidates]
    const first = candidates.find(({ work }) => work !== "none")
    const candidate = first !== undefined && random.chance(0.6) ? first : random.pick(candidates)
    const name = random.pick(kinds)
    note(name, candidate.id)
    return onCandidate[name]?.(scene, candidate, candidate === leader) ?? Effect.void
  })
}
