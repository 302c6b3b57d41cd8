/**
 * The faults, and by when somebody must lead after each. A fault ends what it began, except that `Scene` starts what it ended.
 *
 * No fault stops or kills `lead` and its watchdog together: `npm run succession -- --remains` measures what happens then.
 */
import { constants } from "node:os"
import type { Direction } from "../../test/support/proxy.ts"
import type { Random } from "../random.ts"
import { check, sleep } from "../run.ts"
import { now } from "./records.ts"
import type { Candidate, Scene } from "./scene.ts"

/** When the next job must have begun, in milliseconds: so long after the last one ended, or after `from`, whichever is later. */
export interface Limit {
  readonly from: number
  readonly within: number
}

export interface Fault {
  /** What it touches. Two faults at a time touch different parts. */
  readonly part: "lead" | "link" | "server"
  /** The limit in words; h is the heartbeat of the leader. */
  readonly bound: string
  /** @param longest the most seconds that a stop or a stall lasts */
  readonly run: (scene: Scene, victim: Candidate, random: Random, longest: number) => Promise<Limit>
}

/** The promise besides the leases: reservations end by their own deadlines, in milliseconds. */
const PROMOTED_WITHIN = 300

/** The longest wait of a candidate before it connects again, in milliseconds. */
const CONNECTED_WITHIN = 5000

const LEASE = "2.5h + 0.3 s"
const AT_ONCE = "0.3 s"
const RESTARTED = "settle + 0.3 s, from the new server's start"

const leaseOf = ({ heartbeat }: Candidate): number => 2.5 * heartbeat + PROMOTED_WITHIN

/** Most stops and stalls are short: of up to 30 seconds one in five is longer than 5, and one in twenty longer than 20. */
const length = (random: Random, longest: number): number => 1000 * (1 + (longest - 1) * random.next() ** 9)

/** Nothing of Node or of the program listens to these. */
const UNCAUGHT = [constants.signals.SIGPWR, constants.signals.SIGIO, 34, 50, 64]

/** Within so many milliseconds of the end of `lead` the watchdog has ended the job. */
const NOTHING_LEFT_AFTER = 1000

const onLead = (
  run: (scene: Scene, victim: Candidate, random: Random, longest: number) => Promise<void>,
  bound: typeof LEASE | typeof AT_ONCE = LEASE
): Fault => ({
  part: "lead",
  bound,
  run: async (scene, victim, random, longest) => {
    const limit = { from: now(), within: bound === LEASE ? leaseOf(victim) : PROMOTED_WITHIN }
    await run(scene, victim, random, longest)
    return limit
  }
})

/** A signal that ends `lead`, which cannot end its job then. */
const killed = (signalOf: (random: Random) => number | NodeJS.Signals): Fault =>
  onLead(async (scene, victim, random) => {
    const job = scene.records.read().findLast(({ candidate }) => candidate === victim.name)
    process.kill(victim.process.pid, signalOf(random))
    if (job === undefined) return
    await sleep(NOTHING_LEFT_AFTER)
    check(!scene.exists(job), () => `${victim.name} was killed, and a second later its job ${job.pid} exists`)
  })

/** Stops a process, and continues it after a time. */
const stopped = (pidOf: (scene: Scene, victim: Candidate) => number | undefined, signal: NodeJS.Signals = "SIGSTOP") =>
  onLead(async (scene, victim, random, longest) => {
    const pid = pidOf(scene, victim)
    send(pid, signal)
    await sleep(length(random, longest))
    send(pid, "SIGCONT")
  })

const send = (pid: number | undefined, signal: number | NodeJS.Signals): void => {
  try {
    if (pid !== undefined) process.kill(pid, signal)
  } catch {
    // It has ended by itself.
  }
}

const jobOf = (scene: Scene, victim: Candidate): number | undefined => {
  const job = scene.records.read().findLast(({ candidate }) => candidate === victim.name)
  return job !== undefined && scene.exists(job) ? job.pid : undefined
}

const onLink = (run: (victim: Candidate, random: Random, longest: number) => Promise<void> | void): Fault => ({
  part: "link",
  bound: LEASE,
  run: async (_, victim, random, longest) => {
    const limit = { from: now(), within: leaseOf(victim) }
    await run(victim, random, longest)
    return limit
  }
})

const stalled = (...directions: ReadonlyArray<Direction>): Fault =>
  onLink(async ({ proxy }, random, longest) => {
    for (const direction of directions) proxy.held.add(direction)
    await sleep(length(random, longest))
    // Either the network works again, with what waited in it, or it had dropped the connection.
    if (random.chance(0.5)) proxy.cut()
    proxy.held.clear()
  })

const halfClosed = (direction: Direction): Fault =>
  onLink(async ({ heartbeat, proxy }, random) => {
    proxy.halfClose(direction, random.chance(0.7) ? "keeps open" : undefined)
    // Nothing shows before the lease ends.
    await sleep(2 * heartbeat)
  })

const restarted = ({ settle }: Scene): Limit => ({
  from: now(),
  within: Math.max(settle, CONNECTED_WITHIN) + PROMOTED_WITHIN
})

const serverEnds = (signal: NodeJS.Signals): Fault => ({
  part: "server",
  bound: RESTARTED,
  run: async (scene, _, random) => {
    await scene.restartServer(signal, random.chance(0.5) ? 0 : random.below(3000))
    return restarted(scene)
  }
})

/** In seconds. */
const HOUR = 3600

export const faults: { readonly [name: string]: Fault } = {
  "lead: SIGKILL": killed(() => "SIGKILL"),
  "lead: SIGPWR, SIGIO or a real-time signal": killed((random) => random.pick(UNCAUGHT)),
  "lead: SIGSTOP": stopped((_, { process }) => process.pid),
  "lead: Ctrl-Z": stopped((_, { process }) => process.pid, "SIGTSTP"),
  "lead: SIGTERM (it steps down)": onLead(async (_, { process }) => process.end("SIGTERM"), AT_ONCE),
  "watchdog: SIGKILL": onLead(async (_, { watchdog }) => send(watchdog, "SIGKILL")),
  "watchdog: SIGSTOP": stopped((_, { watchdog }) => watchdog),
  "job: SIGKILL (lead steps down)": onLead(async (scene, victim) => send(jobOf(scene, victim), "SIGKILL"), AT_ONCE),
  "job: SIGPWR, SIGIO or a real-time signal": onLead(
    async (scene, victim, random) => send(jobOf(scene, victim), random.pick(UNCAUGHT)),
    AT_ONCE
  ),
  "job: SIGSTOP": stopped(jobOf),
  "lead and job: SIGSTOP": onLead(async (scene, victim, random, longest) => {
    const pids = [victim.process.pid, jobOf(scene, victim)]
    for (const pid of pids) send(pid, "SIGSTOP")
    await sleep(length(random, longest))
    for (const pid of pids) send(pid, "SIGCONT")
  }),
  "connection: stalls towards the server": stalled("up"),
  "connection: stalls towards the client": stalled("down"),
  "connection: stalls both ways": stalled("up", "down"),
  "connection: reset": onLink(({ proxy }) => proxy.cut()),
  "connection: half-closed towards the server": halfClosed("up"),
  "connection: half-closed towards the client": halfClosed("down"),
  "connection: reset, and new ones refused": onLink(async ({ proxy }, random, longest) => {
    proxy.refuse()
    proxy.cut()
    await sleep(length(random, longest))
    await proxy.accept()
  }),
  "server: SIGKILL, and a new one": serverEnds("SIGKILL"),
  "server: SIGTERM, and a new one": serverEnds("SIGTERM"),
  "server: SIGSTOP": {
    part: "server",
    bound: "max(2.5h, 5 s) + 0.3 s, from its SIGCONT",
    run: async ({ server }, victim, random, longest) => {
      server.signal("SIGSTOP")
      await sleep(length(random, longest))
      server.signal("SIGCONT")
      return { from: now(), within: Math.max(leaseOf(victim), CONNECTED_WITHIN + PROMOTED_WITHIN) }
    }
  },
  "connection: stalls both ways; server: SIGKILL, and a new one": {
    part: "server",
    bound: RESTARTED,
    run: async (scene, { proxy }, random, longest) => {
      proxy.held.add("up").add("down")
      await sleep(random.below(500))
      await scene.restartServer("SIGKILL", 0)
      const limit = restarted(scene)
      await sleep(length(random, longest))
      proxy.held.clear()
      return limit
    }
  },
  "wall clock: set by up to two hours": {
    part: "server",
    bound: "the leader stays",
    run: async (scene, victim, random) => {
      const limit = { from: now(), within: leaseOf(victim) }
      scene.setClock(random.below(4 * HOUR) - 2 * HOUR)
      await sleep(500)
      return limit
    }
  }
}
