/**
 * The rule of succession, in a simulated world that goes wrong: two never act, and somebody acts whenever everything
 * has been whole for 10 seconds. Every choice follows from the seed, so a seed repeats its run.
 */
import { Clock, Duration, Effect, Random as EffectRandom } from "effect"
import { TestClock } from "effect/testing"
import { Random } from "../../fault/random.ts"
import { onIdleScheduler, settled } from "../support/IdleScheduler.ts"
import { Machine } from "./Machine.ts"
import { type Candidate, World } from "./World.ts"

const STEP = 20

/** How long a run lasts, in milliseconds of its own time. */
const LENGTH = 60_000

/** In milliseconds. */
const WHOLE = 10_000
const HEARTBEATS = [500, 1000, 2000, 2000]

/** How long a process that was paused may run on before it looks at its lease. */
const LOOK = 100 + 2 * STEP

export interface Violation {
  readonly seed: number
  readonly what: string
  readonly log: ReadonlyArray<string>
}

const machineOf = (time: Clock.Clock, random: Random) => new Machine(time, 0.99 + random.next() * 0.02)

/** Undefined if the rule holds. */
export const simulate = (seed: number): Effect.Effect<Violation | undefined> =>
  Effect.gen(function* () {
    const random = new Random(seed)
    const time = yield* Clock.Clock
    const now = () => Number(time.monotonicTimeNanosUnsafe()) / 1_000_000
    const log: Array<string> = []
    const note = (...words: ReadonlyArray<unknown>) => log.push([Math.round(now()), ...words].join(" "))
    // A seat that is kept for longer than a lease blocks the next leader for as long.
    const grace = random.pick([0, 0, 1000, 10_000])
    const patience = WHOLE + Math.max(0, grace - 5000)
    const world = new World({
      now,
      log: note,
      settings: { grace: Duration.millis(grace), settle: Duration.seconds(5) }
    })
    const machine = machineOf(time, random)
    yield* world.start(machine)
    let names = 0
    const heartbeats = random.chance(0.5) ? HEARTBEATS : [random.pick(HEARTBEATS)]
    const join = (steals?: string, heartbeat = random.pick(heartbeats)) =>
      world.join(`c${++names}`, machineOf(time, random), heartbeat, random.next() * 0.9 * heartbeat, steals)
    for (let i = 0; i < 3; i++) yield* join()

    /** What ends a fault, and when. */
    const heals: Array<{ readonly at: number; readonly heal: Effect.Effect<void> }> = []
    const later = (most: number, heal: Effect.Effect<void>) => heals.push({ at: now() + random.next() * most, heal })
    const fault = faults(world, random, time, note, later, join)
    let nextFault = now() + 6000
    let wholeSince = now()
    while (now() < LENGTH) {
      if (now() >= nextFault) {
        yield* fault
        // Bursts of faults, and long rests.
        nextFault = now() + (random.chance(0.3) ? patience + 3000 : random.next() * 2500)
        wholeSince = Number.POSITIVE_INFINITY
      }
      for (const { at, heal } of heals.splice(0)) {
        if (at > now()) heals.push({ at, heal })
        else yield* heal
      }
      if (heals.length > 0) wholeSince = Number.POSITIVE_INFINITY
      else if (wholeSince === Number.POSITIVE_INFINITY) wholeSince = now()
      world.step()
      yield* settled
      yield* TestClock.adjust(STEP)
      yield* settled
      const { acting } = world
      if (acting.length > 1)
        return { seed, log, what: `${acting.map(({ name }) => name).join(" and ")} act at ${now()}` }
      if (acting.length === 0 && now() - wholeSince > patience) {
        return { seed, log, what: `nobody acts at ${now()}, whole since ${wholeSince}` }
      }
    }
    return undefined
  }).pipe(
    Effect.scoped,
    // The waits before each connection.
    EffectRandom.withSeed(seed),
    onIdleScheduler,
    Effect.provide(TestClock.layer({ warningDelay: "1 hour" })),
    Effect.provideService(Clock.Clock, Clock.Clock.defaultValue())
  )

/** A fault of the world, chosen by chance. */
const faults = (
  world: World,
  random: Random,
  time: Clock.Clock,
  note: (...words: ReadonlyArray<unknown>) => void,
  later: (most: number, heal: Effect.Effect<void>) => void,
  join: (steals?: string) => Effect.Effect<Candidate>
): Effect.Effect<unknown> => {
  /** Whether two processes share a resume token. */
  let stealing = false
  const victim = (): Candidate | undefined => {
    const all = [...world.candidates]
    const leader = all.find(({ work }) => work !== "none")
    return leader !== undefined && random.chance(0.6) ? leader : all.length > 0 ? random.pick(all) : undefined
  }
  const pause = (candidate: Candidate, how: "freeze" | "suspend") => {
    candidate.machine[how]()
    later(
      9000,
      Effect.sync(() => {
        candidate.machine.resume()
        candidate.paused = candidate.work !== "none"
        candidate.excusedUntil = Number(time.monotonicTimeNanosUnsafe()) / 1_000_000 + LOOK
        note(candidate.name, "continues")
      })
    )
  }
  const each = (candidate: Candidate, act: (line: Candidate["lines"] extends Set<infer L> ? L : never) => void) =>
    Effect.sync(() => {
      for (const line of candidate.lines) act(line)
    })
  const onCandidate: { readonly [fault: string]: (candidate: Candidate) => Effect.Effect<unknown> } = {
    reset: (candidate) => each(candidate, (line) => line.reset()),
    "half-close": (candidate) => each(candidate, (line) => line.halfClose()),
    "late answers": (candidate) =>
      Effect.andThen(
        each(candidate, (line) => {
          line.deafen()
          line.stall("down")
        }),
        Effect.sync(() => {
          later(
            1000,
            each(candidate, (line) => line.endServer())
          )
          later(
            4000,
            each(candidate, (line) => line.heal())
          )
        })
      ),
    "half-close down": (candidate) => each(candidate, (line) => line.endClient()),
    "stall up": (candidate) =>
      Effect.andThen(
        each(candidate, (line) => line.stall("up")),
        Effect.sync(() =>
          later(
            8000,
            each(candidate, (line) => line.heal())
          )
        )
      ),
    "stall down": (candidate) =>
      Effect.andThen(
        each(candidate, (line) => line.stall("down")),
        Effect.sync(() =>
          later(
            8000,
            each(candidate, (line) => line.heal())
          )
        )
      ),
    cut: (candidate) =>
      Effect.sync(() => {
        candidate.reachable = false
        for (const line of candidate.lines) line.stall("up")
        for (const line of candidate.lines) line.stall("down")
        const heal = each(candidate, (line) => line.heal())
        later(
          8000,
          Effect.andThen(
            Effect.sync(() => candidate.reconnect()),
            heal
          )
        )
      }),
    "reset and cut": (candidate) =>
      Effect.sync(() => {
        candidate.reachable = false
        for (const line of candidate.lines) line.reset()
        later(
          8000,
          Effect.sync(() => candidate.reconnect())
        )
      }),
    delay: (candidate) =>
      Effect.andThen(
        each(candidate, (line) => line.slow(random.next() * 700)),
        Effect.sync(() =>
          later(
            8000,
            each(candidate, (line) => line.heal())
          )
        )
      ),
    "line too long": (candidate) => each(candidate, (line) => line.send("x".repeat(70_000), 0)),
    freeze: (candidate) => Effect.sync(() => pause(candidate, "freeze")),
    suspend: (candidate) => Effect.sync(() => pause(candidate, "suspend")),
    finish: (candidate) => Effect.sync(() => candidate.machine.runs && candidate.finish()),
    kill: (candidate) => Effect.andThen(world.leave(candidate, true), join()),
    leave: (candidate) =>
      candidate.machine.runs ? Effect.andThen(world.leave(candidate, false), join()) : Effect.void,
    steal: (candidate) =>
      Effect.gen(function* () {
        if (stealing) return
        stealing = true
        const thief = yield* join(candidate.token)
        // They take the seat from each other, until one of them no longer hears that it has lost it, or ends.
        later(
          3000,
          each(thief, (line) => line.deafen())
        )
        const end = Effect.suspend(() => {
          stealing = false
          return world.leave(random.pick([candidate, thief]), true)
        })
        later(6000, end)
      })
  }
  const restart = (isKilled: boolean) =>
    Effect.gen(function* () {
      if (world.server === undefined || !world.server.machine.runs) return
      yield* world.stop(isKilled)
      later(random.pick([100, 1000, 8000]), world.start(machineOf(time, random)))
    })
  const onServer: { readonly [fault: string]: Effect.Effect<unknown> } = {
    "the server is killed": restart(true),
    "the server stops": restart(false),
    "the server freezes": Effect.sync(() => {
      const machine = world.server?.machine
      machine?.freeze()
      later(
        8000,
        Effect.sync(() => machine?.resume())
      )
    })
  }
  // A few kinds in each run: those that need each other meet more often.
  const kinds = random.chance(0.3)
    ? Object.keys(onCandidate)
    : Array.from({ length: 4 }, () => random.pick(Object.keys(onCandidate)))
  return Effect.gen(function* () {
    if (random.chance(0.15)) {
      const name = random.pick(Object.keys(onServer))
      note(name)
      return yield* onServer[name] ?? Effect.void
    }
    const candidate = victim()
    const name = random.pick(kinds)
    if (candidate === undefined) return Effect.void
    note(name, candidate.name)
    return yield* onCandidate[name]?.(candidate) ?? Effect.void
  })
}
