/**
 * The simulated world: a server and candidates, each on a `Machine` of its own, and the `Line`s between them. All
 * run the production modules. It owns who acts at each moment, and the log of what happened; `simulation.ts`
 * decides what goes wrong.
 */
import { Clock, Context, Effect, Exit, Layer, Logger, Queue, Scope, Stream, SubscriptionRef } from "effect"
import { Socket } from "effect/socket"
import * as Leader from "../../src/client/Leader.ts"
import { Uptime } from "../../src/client/lease/Stopwatch.ts"
import { RankClient } from "../../src/client/RankClient.ts"
import type { SettingsValues } from "../../src/server/Settings.ts"
import { Network } from "../support/memoryServer.ts"
import { Line } from "./Line.ts"
import type { Machine } from "./Machine.ts"

const failed = () =>
  new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause: new Error("refused") }) })

/** The server, from a start to its end. */
export interface ServerRun {
  readonly machine: Machine
  readonly network: Network["Service"]
  readonly scope: Scope.Closeable
}

export interface Candidate {
  readonly name: string
  readonly machine: Machine
  readonly lines: Set<Line>
  readonly scope: Scope.Closeable
  /** Whether new connections reach the server. */
  reachable: boolean
  /** The token with which its next `Hello` resumes, and that of its own last `Welcome`. */
  steals: string | undefined
  token: string | undefined
  /** Its work as the leader: `runs`, or is `ending` since its interruption. */
  work: "none" | "runs" | "ending"
  /** When the work may run on until, although its process was paused for longer than the lease. */
  excusedUntil: number
  paused: boolean
  readonly reconnect: () => void
  /** Ends the work by itself. */
  finish: () => void
}

export interface WorldOptions {
  readonly now: () => number
  readonly settings: Partial<SettingsValues>
  readonly log: (...words: ReadonlyArray<unknown>) => void
}

export class World {
  readonly candidates = new Set<Candidate>()
  /** Lines of processes that have ended, with the last bytes on their way. */
  readonly #left = new Set<Line>()
  server: ServerRun | undefined
  readonly logged = { push: (line: string) => this.#options.log("server:", line) } as unknown as Array<string>
  readonly #options: WorldOptions

  constructor(options: WorldOptions) {
    this.#options = options
  }

  readonly start = Effect.fnUntraced({ self: this }, function* (machine: Machine) {
    const scope = yield* Scope.make()
    const layer = Layer.fresh(Network.layer(this.#options.settings, this.logged))
    const built = Layer.buildWithScope(layer, scope).pipe(Effect.provideService(Clock.Clock, machine.clock))
    this.server = { machine, scope, network: Context.get(yield* built, Network) }
  })

  /** The process of the server ends: as a signal would end it, or at once. */
  readonly stop = Effect.fnUntraced({ self: this }, function* (isKilled: boolean) {
    const { server } = this
    if (server === undefined) return
    this.server = undefined
    if (isKilled) for (const { lines } of this.candidates) for (const line of lines) line.reset()
    yield* Effect.forkDetach(Scope.close(server.scope, Exit.void))
  })

  readonly join = Effect.fnUntraced(
    { self: this },
    function* (name: string, machine: Machine, heartbeat: number, stopMillis: number, steals?: string) {
      const candidate: Candidate = {
        ...{ name, machine, lines: new Set<Line>(), scope: yield* Scope.make(), reachable: true, steals },
        ...{ token: undefined, work: "none", excusedUntil: 0, paused: false, finish: () => {} },
        reconnect: () => {
          candidate.reachable = true
        }
      }
      this.candidates.add(candidate)
      const layer = RankClient.layer({ heartbeat, lease: true }).pipe(
        Layer.provide(Layer.succeed(Socket.Socket, this.#socketOf(candidate))),
        Layer.provide(Layer.succeed(Uptime, machine.uptime))
      )
      const work = (epoch: number) =>
        Effect.callback<void>((resume) => {
          this.#options.log(name, "acts under", epoch)
          candidate.work = "runs"
          candidate.excusedUntil = 0
          candidate.finish = () => resume(Effect.void)
        }).pipe(
          Effect.onInterrupt(() =>
            Effect.suspend(() => {
              candidate.work = "ending"
              return Effect.sleep(stopMillis)
            })
          ),
          Effect.ensuring(
            Effect.sync(() => {
              this.#options.log(name, "has stopped")
              candidate.work = "none"
            })
          )
        )
      const ranks = Effect.flatMap(RankClient, ({ standing }) =>
        Stream.runForEach(
          Stream.changesWith(SubscriptionRef.changes(standing), (a, b) => a === b),
          (now) =>
            Effect.sync(() =>
              this.#options.log(name, now === undefined ? "has no rank" : `has rank ${now.rank} as ${now.member}`)
            )
        )
      )
      const leading = Effect.raceFirst(Effect.forever(Leader.whileLeader(work)), ranks).pipe(
        Effect.provide(layer),
        Effect.provide(Logger.layer([])),
        Effect.tapCause((cause) => Effect.sync(() => this.#options.log(name, "fails", cause)))
      )
      yield* Effect.forkIn(leading, candidate.scope).pipe(Effect.provideService(Clock.Clock, machine.clock))
      return candidate
    }
  )

  /** Its process ends: by itself, or at once. */
  readonly leave = Effect.fnUntraced({ self: this }, function* (candidate: Candidate, isKilled: boolean) {
    if (isKilled) {
      this.candidates.delete(candidate)
      candidate.machine.kill()
      for (const line of candidate.lines) {
        line.clientGone = true
        if (candidate.reachable) line.endServer()
      }
      return
    }
    const gone = Effect.sync(() => {
      this.candidates.delete(candidate)
      for (const line of candidate.lines) this.#left.add(line)
    })
    yield* Effect.forkDetach(Effect.ensuring(Scope.close(candidate.scope, Exit.void), gone)).pipe(
      Effect.provideService(Clock.Clock, candidate.machine.clock)
    )
  })

  /** Moves all bytes that are due. */
  step(): void {
    const now = this.#options.now()
    const move = (lines: Set<Line>, clientRuns: boolean) => {
      for (const line of lines) {
        line.step(now, clientRuns, this.server?.machine.runs ?? true)
        if (line.isOver) lines.delete(line)
      }
    }
    for (const { lines, machine } of this.candidates) move(lines, machine.runs)
    move(this.#left, true)
  }

  /** Who acts: with the work of a leader that runs, or is ending. */
  get acting(): ReadonlyArray<Candidate> {
    const now = this.#options.now()
    return [...this.candidates].filter(({ excusedUntil, machine, paused, work }) => {
      if (work === "none" || !machine.runs) return false
      // A process that was paused begins to stop a moment later, and may then take its time.
      return !paused || (work === "runs" && now > excusedUntil)
    })
  }

  #socketOf(candidate: Candidate): Socket.Socket {
    const { lines, machine } = candidate
    let line: Line | undefined
    const open = Effect.gen({ self: this }, function* () {
      if (!candidate.reachable) return yield* Effect.never
      const { server } = this
      if (server === undefined) return yield* Effect.fail(failed())
      if (!server.machine.runs) return yield* Effect.never
      line = new Line(yield* server.network.connect)
      lines.add(line)
      return line
    }).pipe(Effect.provideService(Clock.Clock, machine.clock))
    const writeAll: Socket.Writer["writeAll"] = (chunks) =>
      Effect.suspend(() => {
        if (line === undefined || line.clientGone) return Effect.fail(failed())
        const text = Buffer.concat(chunks.map((chunk) => Buffer.from(chunk))).toString()
        line.send(this.#forged(candidate, text), this.#options.now())
        return Effect.void
      })
    return Socket.make({
      reader: Effect.map(
        Effect.acquireRelease(open, (line) => Effect.sync(() => line.leave()), { interruptible: true }),
        (line) => ({
          pull: Effect.tap(Queue.takeAll(line.inbound), (chunks) => Effect.sync(() => this.#sniff(candidate, chunks))),
          upgrade: Socket.SocketUpgradeError.unsupported
        })
      ),
      writer: Effect.succeed({
        writeAll,
        write: (chunk) => (Socket.isCloseEvent(chunk) ? Effect.sync(() => line?.leave()) : writeAll([chunk]))
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
    if (token !== undefined) candidate.token = token
  }
}
