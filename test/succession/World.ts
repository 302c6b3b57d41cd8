/**
 * The simulated world: a server and candidates, each on a `Machine` of its own, and the `Line`s between them. All
 * run the production modules. It owns who acts at each moment, and the log of what happened; `faults.ts` decides what
 * goes wrong, and `Judge.ts` whether the rule holds.
 */
import { Clock, Context, Duration, Effect, Exit, Layer, Logger, Queue, Scope, Stream, SubscriptionRef } from "effect"
import { Socket } from "effect/socket"
import * as Leader from "../../src/client/Leader.ts"
import { Uptime } from "../../src/client/lease/Stopwatch.ts"
import { RankClient } from "../../src/client/RankClient.ts"
import type { AccessPolicy, Grant } from "../../src/server/admission/Access.ts"
import type { SettingsValues } from "../../src/server/Settings.ts"
import { Network } from "../support/memoryServer.ts"
import { type Direction, Line } from "./Line.ts"
import type { Machine } from "./Machine.ts"

const failed = () =>
  new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause: new Error("refused") }) })

/** The server, from a start to its end. */
interface ServerRun {
  readonly machine: Machine
  readonly network: Network["Service"]
  readonly scope: Scope.Closeable
  isStopping: boolean
}

/** What a candidate is, in milliseconds. */
export interface Kind {
  readonly heartbeat: number
  readonly stopWithin: number
  /** How long its work takes to stop. */
  readonly stopMillis: number
  /** Whether its platform has an uptime that counts suspends. */
  readonly hasUptime: boolean
  /** Whether the work outlives the client that it runs on, unless that ends it. */
  readonly isApart: boolean
  /** How long bytes are on their way. */
  readonly delay: number
  readonly name?: string | undefined
}

export interface Candidate {
  readonly id: string
  readonly kind: Kind
  readonly machine: Machine
  readonly lines: Set<Line>
  readonly scope: Scope.Closeable
  /** Whether new connections reach the server. */
  reachable: boolean
  /** What new connections do not pass on. */
  stalls: ReadonlyArray<Direction>
  /** The resume token that its next `Hello` shows, and that of its own last `Welcome`. */
  steals: string | undefined
  resume: string | undefined
  /** Whether another process has its resume token, too. */
  sharesToken: boolean
  rank: number | undefined
  /** Its work as the leader: `runs`, or is `ending` since its interruption. */
  work: "none" | "runs" | "ending"
  /** How often its work has ended or has been interrupted. */
  stops: number
  /** The fencing token of its work. */
  epoch: number
  /** Until when its work is excused, because its process was paused before. */
  readonly excused: { look: number; end: number }
  /** Ends the work by itself. */
  finish: () => void
}

export interface WorldOptions {
  readonly now: () => number
  readonly settings: Partial<SettingsValues>
  /** Whether clients show tokens, which the operator can take back. */
  readonly hasTokens: boolean
  readonly log: (...words: ReadonlyArray<unknown>) => void
}

export class World {
  readonly candidates = new Set<Candidate>()
  /** When the next bytes are due after a step that had none. */
  due = Number.POSITIVE_INFINITY
  server: ServerRun | undefined
  /** Lines of clients that are no candidates, or whose process has ended, with the last bytes on their way. */
  readonly #others = new Set<Line>()
  readonly #options: WorldOptions
  readonly #grants = new Map<string, Grant>()
  #changed: (holds: (grant: Grant) => boolean) => void = () => {}

  constructor(options: WorldOptions) {
    this.#options = options
  }

  readonly start = Effect.fnUntraced({ self: this }, function* (machine: Machine) {
    const { hasTokens, log, settings } = this.#options
    const scope = yield* Scope.make()
    const logged = { push: (line: string) => log("server:", line) } as unknown as Array<string>
    const layer = Layer.fresh(Network.layer(settings, logged, hasTokens ? this.#access : undefined))
    const built = Layer.buildWithScope(layer, scope).pipe(Effect.provideService(Clock.Clock, machine.clock))
    this.server = { machine, scope, network: Context.get(yield* built, Network), isStopping: false }
  })

  /** The process of the server ends at once. */
  readonly kill = Effect.suspend(() => {
    const { server } = this
    if (server === undefined) return Effect.void
    this.server = undefined
    for (const line of this.#lines) line.serverDies(this.#options.now())
    // What it still does, nobody hears.
    return Effect.asVoid(Effect.forkDetach(Scope.close(server.scope, Exit.void)))
  })

  /** The process of the server ends as a signal would end it; succeeds when it has ended. */
  readonly stop = Effect.suspend(() => {
    const { server } = this
    if (server === undefined) return Effect.void
    server.isStopping = true
    return server.network.stop.pipe(
      Effect.provideService(Clock.Clock, server.machine.clock),
      Effect.andThen(Effect.suspend(() => (this.server === server ? this.kill : Effect.void)))
    )
  })

  /** The operator takes back the token of the candidate, and gives it to it again; false if it has shown none. */
  revoke(candidate: Candidate): boolean {
    const revoked = this.#grants.get(candidate.id)
    if (revoked === undefined) return false
    this.#grants.delete(candidate.id)
    this.#changed((grant) => grant !== revoked)
    return true
  }

  readonly join = Effect.fnUntraced({ self: this }, function* (id: string, machine: Machine, kind: Kind) {
    const candidate: Candidate = {
      ...{ id, kind, machine, lines: new Set<Line>(), scope: yield* Scope.make(), reachable: true, stalls: [] },
      ...{
        steals: undefined,
        resume: undefined,
        sharesToken: false,
        rank: undefined,
        work: "none",
        stops: 0,
        epoch: 0
      },
      ...{ excused: { look: 0, end: 0 }, finish: () => {} }
    }
    this.candidates.add(candidate)
    const { heartbeat, name, stopWithin } = kind
    const layer = RankClient.layer({
      ...{ heartbeat, lease: true },
      ...(name === undefined ? {} : { name }),
      ...(this.#options.hasTokens ? { token: id } : {})
    }).pipe(
      Layer.provide(Layer.succeed(Socket.Socket, this.#socketOf(candidate))),
      Layer.provide(Layer.succeed(Uptime, kind.hasUptime ? machine.uptime : () => 0))
    )
    const leader = Leader.whileLeader((epoch) => this.#work(candidate, epoch), {
      stopWithin: Duration.millis(stopWithin)
    })
    const leading = Effect.raceFirst(Effect.forever(leader), this.#ranksOf(candidate)).pipe(
      Effect.provide(Logger.layer([])),
      Effect.tapCause((cause) => Effect.sync(() => this.#options.log(id, "fails", cause)))
    )
    const { scope } = candidate
    const running = kind.isApart
      ? Effect.flatMap(Effect.orDie(Layer.buildWithScope(layer, scope)), (context) =>
          Effect.forkDetach(Effect.provideContext(leading, context))
        )
      : Effect.forkIn(Effect.provide(leading, layer), scope)
    yield* running.pipe(Effect.provideService(Clock.Clock, machine.clock), Effect.provide(Logger.layer([])))
    return candidate
  })

  /** Its process ends: by itself, or at once. */
  readonly leave = Effect.fnUntraced({ self: this }, function* (candidate: Candidate, isKilled: boolean) {
    const gone = Effect.sync(() => {
      this.candidates.delete(candidate)
      for (const line of candidate.lines) {
        if (isKilled && !line.clientIsOver) line.leave(this.#options.now())
        this.#others.add(line)
      }
    })
    if (isKilled) {
      candidate.machine.kill()
      return yield* gone
    }
    const stopped: Effect.Effect<void> = Effect.suspend(() =>
      candidate.work === "none" ? gone : Effect.andThen(Effect.sleep(20), stopped)
    )
    yield* Effect.forkDetach(Effect.andThen(Scope.close(candidate.scope, Exit.void), stopped)).pipe(
      Effect.provideService(Clock.Clock, candidate.machine.clock)
    )
  })

  /** Connects a client that is no candidate. */
  connect(delay: number): Line {
    const line = new Line(delay)
    this.#others.add(line)
    return line
  }

  /** Accepts connections, and delivers all bytes that are due; succeeds with whether there were any. */
  readonly step = Effect.suspend(() => {
    const now = this.#options.now()
    const { server } = this
    const serverRuns = server?.machine.runs ?? true
    let moves = false
    const accepted: Array<Line> = []
    this.due = Number.POSITIVE_INFINITY
    const move = (lines: Set<Line>, clientRuns: boolean) => {
      for (const line of lines) {
        if (!line.isAccepted) accepted.push(line)
        moves ||= line.due(clientRuns, serverRuns) <= now
        line.step(now, clientRuns, serverRuns)
        this.due = Math.min(this.due, line.due(clientRuns, serverRuns))
        if (line.isOver) lines.delete(line)
      }
    }
    for (const { lines, machine } of this.candidates) move(lines, machine.runs)
    move(this.#others, true)
    if (server === undefined || !server.machine.runs || accepted.length === 0) return Effect.succeed(moves)
    const accept = (line: Line) => Effect.map(server.network.connect, (socket) => line.accept(socket))
    return Effect.as(Effect.forEach(accepted, accept, { discard: true }), true)
  })

  /** Who acts: with the work of a leader that runs, or is ending. */
  get acting(): ReadonlyArray<Candidate> {
    const now = this.#options.now()
    return [...this.candidates].filter(({ excused, machine, work }) => {
      if (work === "none" || !machine.runs) return false
      // A process that was paused begins to stop a moment later, and may then take its time.
      return now > (work === "runs" ? excused.look : excused.end)
    })
  }

  get #lines(): ReadonlyArray<Line> {
    return [...[...this.candidates].flatMap(({ lines }) => [...lines]), ...this.#others]
  }

  readonly #access: AccessPolicy = {
    authenticate: (token) =>
      Effect.sync(() => {
        const grant = this.#grants.get(token) ?? { issue: true, execute: true }
        this.#grants.set(token, grant)
        return grant
      }),
    observe: (changed) =>
      Effect.sync(() => {
        this.#changed = changed
      })
  }

  #work(candidate: Candidate, epoch: number): Effect.Effect<void> {
    const { log } = this.#options
    return Effect.callback<void>((resume) => {
      log(candidate.id, "acts under", epoch)
      Object.assign(candidate.excused, { look: 0, end: 0 })
      candidate.work = "runs"
      candidate.epoch = epoch
      candidate.finish = () => resume(Effect.void)
    }).pipe(
      Effect.onInterrupt(() =>
        Effect.suspend(() => {
          candidate.work = "ending"
          candidate.stops++
          log(candidate.id, "stops")
          return Effect.sleep(candidate.kind.stopMillis)
        })
      ),
      Effect.ensuring(
        Effect.sync(() => {
          log(candidate.id, "has stopped")
          candidate.work = "none"
        })
      )
    )
  }

  #ranksOf(candidate: Candidate): Effect.Effect<void, never, RankClient> {
    return Effect.flatMap(RankClient, ({ standing }) =>
      Stream.runForEach(
        Stream.changesWith(SubscriptionRef.changes(standing), (a, b) => a === b),
        (now) =>
          Effect.sync(() => {
            candidate.rank = now?.rank
            const standing = now === undefined ? "has no rank" : `has rank ${now.rank} as ${now.member}`
            this.#options.log(candidate.id, standing)
          })
      )
    )
  }

  #socketOf(candidate: Candidate): Socket.Socket {
    const { lines } = candidate
    const { now } = this.#options
    let line: Line | undefined
    const leave = (line: Line) => Effect.sync(() => line.clientIsOver || line.leave(now()))
    // As a kernel does, it tries again after one second, then after two, and so on, if nothing answers.
    const open = (wait = 1000): Effect.Effect<Line, Socket.SocketError> =>
      Effect.suspend(() => {
        if (!candidate.reachable || this.server?.machine.isSuspended) {
          return Effect.andThen(Effect.sleep(wait), open(2 * wait))
        }
        // Nothing listens. A frozen server has connections accepted for it.
        if (this.server === undefined) return Effect.fail(failed())
        line = new Line(candidate.kind.delay)
        line.stall(...candidate.stalls)
        lines.add(line)
        return Effect.succeed(line)
      })
    const writeAll: Socket.Writer["writeAll"] = (chunks) =>
      Effect.suspend(() => {
        if (line === undefined || line.clientIsOver) return Effect.fail(failed())
        const text = Buffer.concat(chunks.map((chunk) => Buffer.from(chunk))).toString()
        line.send(this.#forged(candidate, text), now())
        return Effect.void
      })
    return Socket.make({
      reader: Effect.map(Effect.acquireRelease(open(), leave, { interruptible: true }), (line) => ({
        pull: Effect.tap(Queue.takeAll(line.inbound), (chunks) => Effect.sync(() => this.#sniff(candidate, chunks))),
        upgrade: Socket.SocketUpgradeError.unsupported
      })),
      writer: Effect.succeed({
        writeAll,
        write: (chunk) =>
          Socket.isCloseEvent(chunk) ? (line === undefined ? Effect.void : leave(line)) : writeAll([chunk])
      })
    })
  }

  /** A candidate that steals a resume token shows it in its first `Hello`. */
  #forged(candidate: Candidate, text: string): string {
    const { steals } = candidate
    if (steals === undefined || !text.startsWith('{"_tag":"Hello"')) return text
    candidate.steals = undefined
    const [hello = "", ...rest] = text.split("\n")
    return [JSON.stringify({ ...JSON.parse(hello), resume: steals }), ...rest].join("\n")
  }

  #sniff(candidate: Candidate, chunks: ReadonlyArray<Uint8Array>): void {
    const token = /"resume":"([^"]+)"/.exec(Buffer.concat(chunks).toString())?.[1]
    if (token !== undefined) candidate.resume = token
  }
}
