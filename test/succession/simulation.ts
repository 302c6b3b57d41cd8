/**
 * The rule of succession, in a simulated world that goes wrong: two never act, and somebody acts soon. Every choice
 * follows from the seed, so a seed repeats its run.
 */
import { Clock, Duration, Effect, Random as EffectRandom, Scheduler } from "effect"
import { TestClock } from "effect/testing"
import { Random } from "../../fault/random.ts"
import { onIdleScheduler, settled } from "../support/IdleScheduler.ts"
import { makeFaults } from "./faults.ts"
import { Judge } from "./Judge.ts"
import { Agenda, Machine } from "./Machine.ts"
import { Turns } from "./Turns.ts"
import { type Candidate, type Kind, World } from "./World.ts"

/** How long a run lasts, and the bounds of a step, in milliseconds of its own time. */
const LENGTH = 60_000
const LEAST_STEP = 1
const MOST_STEP = 500

const HEARTBEATS = [500, 1000, 2000, 2000]

export interface Violation {
  readonly seed: number
  readonly what: string
  readonly log: ReadonlyArray<string>
}

/** What ends a fault, and when. */
interface Heal {
  readonly at: number
  readonly heal: Effect.Effect<unknown>
  readonly lost: Candidate | undefined
}

/** The extremes are the most telling. */
const rateOf = (random: Random): number => random.pick([0.99, 0.99 + random.next() * 0.02, 1.01])

const kindOf = (random: Random, heartbeat: number): Kind => {
  const stopWithin = heartbeat * random.pick([1, 1, 1, 0.1, 1.25])
  const stopMillis = stopWithin * random.pick([0, random.next(), 0.95, 0.95])
  return {
    heartbeat,
    stopWithin,
    stopMillis,
    hasUptime: random.chance(0.7),
    isApart: random.chance(0.3),
    delay: random.pick([1, 5, 20])
  }
}

/** Undefined if the rule holds. */
export const simulate = (seed: number): Effect.Effect<Violation | undefined> =>
  Effect.promise(
    () =>
      new Promise((resolve, reject) => {
        const log: Array<string> = []
        const turns = new Turns(() => resolve({ seed, log, what: "something runs without end" }))
        Effect.runPromise(run(seed, log, turns)).then(resolve, reject)
      })
  )

const run = (seed: number, log: Array<string>, turns: Turns): Effect.Effect<Violation | undefined> =>
  Effect.gen(function* () {
    const random = new Random(seed)
    const time = yield* Clock.Clock
    const now = () => Number(time.monotonicTimeNanosUnsafe()) / 1_000_000
    const note = (...words: ReadonlyArray<unknown>) => log.push([Math.round(now()), ...words].join(" "))
    const agenda = new Agenda()
    const grace = random.pick([0, 0, 1000, 10_000])
    const count = random.pick([1, 2, 3, 3, 4])
    const crowd = grace > 0 && random.chance(0.3) ? 8 : 0
    const world = new World({
      ...{ now, log: note, hasTokens: random.chance(0.5) },
      settings: {
        ...{ grace: Duration.millis(grace), settle: Duration.seconds(5) },
        ...(random.chance(0.3) ? { maxClients: count } : {}),
        ...(crowd > 0 ? { maxConnections: crowd } : {}),
        // So that the server soon reads no more from a client that does not read, and finds it too slow.
        ...random.pick([{}, { maxPending: 65_536 }, { maxPending: 65_536, stallTimeout: Duration.seconds(1) }])
      }
    })
    const newMachine = () => new Machine(time, agenda, rateOf(random))
    const heartbeats = random.chance(0.5) ? HEARTBEATS : [random.pick(HEARTBEATS)]
    const areNamed = random.chance(count === 1 ? 0.6 : 0.3)
    let ids = 0
    const join = (as: Partial<Kind> = {}) => {
      const id = `c${++ids}`
      const kind = { name: areNamed ? id : undefined, ...kindOf(random, random.pick(heartbeats)), ...as }
      return world.join(id, newMachine(), kind)
    }
    yield* world.start(newMachine())
    for (let i = 0; i < count; i++) yield* join()

    const judge = new Judge(world, now, grace)
    const heals: Array<Heal> = []
    const after = (millis: number, heal: Effect.Effect<unknown>, lost?: Candidate) =>
      heals.push({ at: now() + millis, heal, lost })
    const later: typeof after = (most, heal, lost) => after(random.next() * most, heal, lost)
    const fault = makeFaults({
      world,
      judge,
      random,
      now,
      note,
      crowd,
      sharers: new Set(),
      after,
      later,
      join,
      newMachine
    })
    let nextFault = now() + 6000

    /** Whether somebody is able to act, and nothing is wrong with the others than that they cannot. */
    const isWhole = () => {
      const { server } = world
      const lost = new Set(heals.map(({ lost }) => lost))
      const others = [...world.candidates].filter((candidate) => !lost.has(candidate))
      return server?.machine.runs === true && !server.isStopping && !lost.has(undefined) && others.length > 0
    }

    while (now() < LENGTH) {
      for (const { at, heal, lost } of heals.splice(0)) {
        if (at > now()) heals.push({ at, heal, lost })
        else {
          judge.disturbed()
          yield* heal
        }
      }
      if (now() >= nextFault) {
        yield* fault
        // Bursts of faults, and long rests.
        const burst = random.next() * 2500
        const rest = random.pick([judge.patience + 3000, judge.rest, judge.rest, burst, burst, burst, burst, burst])
        nextFault = judge.until !== undefined && random.chance(0.5) ? judge.until + 1 : now() + rest
      }
      do yield* settled
      while (yield* world.step)
      const what = judge.verdict(isWhole())
      if (what !== undefined) return { seed, log, what: `${what} at ${Math.round(now())}` }
      const next = Math.min(agenda.after(now()), world.due, nextFault, ...heals.map(({ at }) => at))
      turns.pass()
      yield* TestClock.adjust(Math.max(LEAST_STEP, Math.min(MOST_STEP, next - now())))
      yield* settled
    }
    return undefined
  }).pipe(
    Effect.scoped,
    // The waits before each connection.
    EffectRandom.withSeed(seed),
    (effect) => onIdleScheduler(effect, turns.next),
    Effect.provide(TestClock.layer({ warningDelay: "1 hour" })),
    Effect.provideService(Clock.Clock, Clock.Clock.defaultValue()),
    Effect.provideService(Scheduler.Scheduler, turns.scheduler)
  )
