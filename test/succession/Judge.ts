/**
 * Whether the rule holds: two never act, nobody acts under an old token, and somebody acts soon. It owns what is
 * expected, and since when nothing has gone wrong. All times are in milliseconds of the simulation.
 *
 * A fault on its own, after a long rest, has a sharper promise than the others: how soon the next one acts, or that
 * the work goes on. Whatever happens next, be it the end of the fault, lifts that promise.
 */
import type { Candidate, World } from "./World.ts"

/** After so much time without a fault somebody acts. */
const WHOLE = 10_000

/** How soon the next leader acts after the end of the lease or the work of the one before it. */
const SOON = 300

/** The clocks run differently, by 1 percent each. */
const DRIFT = 1.02

/** Heartbeats from when the server has heard a lost leader last until the next may act. */
const LEASE = 2.5

/** How long work goes on that a fault does not end. */
const UNBROKEN = 4500

interface Succession {
  readonly what: string
  readonly until: number
  readonly former: Candidate
}

interface Continuity {
  readonly what: string
  readonly until: number
  readonly leader: Candidate
  readonly stops: number
}

interface Entry {
  readonly until: number
  readonly newcomer: Candidate
}

/** A program that is started again is in line after so much time, although its place is reserved. */
const IN_LINE = 1500

export class Judge {
  readonly #world: World
  readonly #now: () => number
  /** How long the server keeps any lost seat. */
  readonly #grace: number
  /** How many faults have begun or ended. */
  disturbances = 0
  #wholeSince: number
  #isWhole = true
  #succession: Succession | undefined
  #continuity: Continuity | undefined
  #entry: Entry | undefined
  /** The largest token under which anybody has acted. */
  #epoch = 0

  constructor(world: World, now: () => number, grace: number) {
    this.#world = world
    this.#now = now
    this.#grace = grace
    this.#wholeSince = now()
  }

  /** How long a leader may be missing although nothing is wrong: other seats may be kept before its own. */
  get patience(): number {
    return Math.max(WHOLE, this.rest)
  }

  /** After so much time without a fault no lease or reservation is left of what was before. */
  get rest(): number {
    return 6000 + this.#grace
  }

  /** When the next leader must act, or the work may stop; undefined if nothing is expected. */
  get until(): number | undefined {
    return this.#succession?.until ?? this.#continuity?.until
  }

  /** The only one that acts, if nothing has been wrong for long. */
  get leader(): Candidate | undefined {
    const [leader, ...more] = this.#world.acting
    const isSteady = this.#isWhole && this.#now() - this.#wholeSince > this.rest - 500 && more.length === 0
    return isSteady && leader?.work === "runs" ? leader : undefined
  }

  /** A fault begins or ends. */
  disturbed(): void {
    this.disturbances++
    this.#wholeSince = this.#now()
    this.#succession = undefined
    this.#continuity = undefined
    this.#entry = undefined
  }

  /**
   * The leader is lost: the next one acts when its lease has ended; it may be a newcomer. `silently`: the server must
   * find out.
   */
  expectSuccessor(what: string, former: Candidate, silently: boolean, newcomer?: Candidate): void {
    const { heartbeat } = former.kind
    const lease = LEASE * heartbeat * DRIFT
    if (newcomer !== undefined && !silently) this.#entry = { newcomer, until: this.#now() + IN_LINE }
    this.#expect(what, former, newcomer, silently ? lease + this.#grace * DRIFT : Math.max(lease, this.#grace * DRIFT))
  }

  /** The leader leaves in order: the next one acts when its work has ended. */
  expectHandover(what: string, former: Candidate): void {
    this.#expect(what, former, undefined, former.kind.stopMillis * DRIFT)
  }

  /** The work of the leader goes on, and has since it had stopped so often. */
  expectContinuity(what: string, leader: Candidate, stops = leader.stops): void {
    this.#continuity = { what, leader, stops, until: this.#now() + UNBROKEN }
  }

  #expect(what: string, former: Candidate, newcomer: Candidate | undefined, millis: number): void {
    const isReady = (other: Candidate) =>
      other === newcomer || (other.rank !== undefined && other.machine.runs && other.lines.size === 1)
    if (![...this.#world.candidates].some((other) => other !== former && isReady(other))) return
    this.#succession = { what, former, until: this.#now() + millis + SOON }
  }

  /** How the rule is broken now; undefined if it is not. */
  verdict(isWhole: boolean): string | undefined {
    const now = this.#now()
    if (!isWhole || !this.#isWhole) this.#wholeSince = now
    this.#isWhole = isWhole
    const { acting } = this.#world
    const [leader, ...more] = acting
    if (more.length > 0) return `${acting.map(({ id }) => id).join(" and ")} act`
    if (leader !== undefined && leader.epoch < this.#epoch) return `${leader.id} acts under an old token`
    if (leader !== undefined) this.#epoch = leader.epoch
    if (leader === undefined && now - this.#wholeSince > this.patience) {
      return `nobody acts, whole since ${this.#wholeSince}`
    }
    return this.#lateness(leader) ?? this.#break() ?? this.#absence()
  }

  #lateness(leader: Candidate | undefined): string | undefined {
    if (this.#succession === undefined) return undefined
    const { former, until, what } = this.#succession
    if (leader !== undefined && leader !== former) {
      this.#succession = undefined
      return undefined
    }
    return this.#now() > until ? `no other acts in time after: ${what}` : undefined
  }

  #absence(): string | undefined {
    if (this.#entry === undefined) return undefined
    const { newcomer, until } = this.#entry
    if (newcomer.rank !== undefined) this.#entry = undefined
    return this.#entry !== undefined && this.#now() > until ? `${newcomer.id} is not in line` : undefined
  }

  #break(): string | undefined {
    if (this.#continuity === undefined) return undefined
    const { leader, stops, until, what } = this.#continuity
    if (leader.stops !== stops) return `${leader.id} has stopped after: ${what}`
    if (this.#now() > until) this.#continuity = undefined
    return undefined
  }
}
