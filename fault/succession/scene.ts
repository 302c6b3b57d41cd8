/**
 * A server and three `rankd lead`, each behind a proxy of its own and with a job that records when it runs. What ends is started
 * again: a `lead` here, the server by the fault that ended it.
 */
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { processesOf, stateOf, watchdogOf } from "../../test/support/lead.ts"
import { open as openProxy, type TestProxy } from "../../test/support/proxy.ts"
import { type WallClock, wallClockIn } from "../../test/support/wallClock.ts"
import type { Random } from "../random.ts"
import { sleep, until, Violation } from "../run.ts"
import { Process, type Server, serve } from "../server.ts"
import { type Job, now, Records } from "./records.ts"

const life = fileURLToPath(new URL("../../test/support/life.py", import.meta.url))

/** Python itself: `python3` may be a script that takes half a second to find it. */
const python = execFileSync("python3", ["-c", "import sys; print(sys.executable)"], { encoding: "utf8" }).trim()

/** What runs a job that records its life. It is on the real clock, and starts without what it does not need. */
export const job = (file: string, ...how: ReadonlyArray<string>): ReadonlyArray<string> => [
  ...["env", "-u", "LD_PRELOAD", python, "-ES", life, file, "alone", ...how]
]

/** A job whose last record is younger runs, as far as one can tell, in milliseconds. */
const FRESH = 200

/** How long a candidate may take to be in line again: the longest wait for a connection, and more. */
const IN_LINE_WITHIN = 60_000

export interface CandidateOptions {
  readonly name: string
  /** In milliseconds. */
  readonly heartbeat: number
  /** Whether its job does not end at SIGTERM. */
  readonly isStubborn: boolean
  /** Runs the job. */
  readonly wrap?: ReadonlyArray<string> | undefined
}

/** `rankd lead` under one name: one process after the other. */
export class Candidate {
  readonly name: string
  readonly heartbeat: number
  readonly proxy: TestProxy
  process: Process
  /** When the next process starts, if this one has ended. */
  restartAt: number | undefined
  /** When it said last that it had lost its connection. */
  lostAt = 0
  #lost = ""
  readonly #start: () => Process

  constructor(
    { heartbeat, isStubborn, name, wrap = [] }: CandidateOptions,
    proxy: TestProxy,
    file: string,
    clock: WallClock
  ) {
    this.name = name
    this.heartbeat = heartbeat
    this.proxy = proxy
    const run = [...wrap, ...job(file, ...(isStubborn ? ["stubborn"] : []))]
    const lease = ["--heartbeat", `${heartbeat}ms`, "--kill-after", `${KILL_AFTER * heartbeat}ms`]
    const args = ["lead", "--port", `${proxy.port}`, "--name", name, "--group", "work", ...lease, "--", ...run]
    this.#start = () => new Process(args, { clock })
    this.process = this.#start()
  }

  get watchdog(): number | undefined {
    return watchdogOf(this.process)
  }

  /** Its rank, as it said last; undefined if it has none, or its process has ended. */
  get rank(): number | undefined {
    if (this.process.ended) return undefined
    const said = [...this.process.stderr.matchAll(/: .*(?:rank (\d+) of \d+ in group|trying again)/g)].at(-1)
    return said?.[1] === undefined ? undefined : Number(said[1])
  }

  /** Until then the next leader may have to wait, because this one may have resumed its rank. */
  get leadInUntil(): number {
    return this.lostAt + 2.5 * this.heartbeat
  }

  hear(): void {
    const lost = [...this.process.stderr.matchAll(/.*connection lost/g)].at(-1)?.[0] ?? ""
    if (lost !== "" && lost !== this.#lost) this.lostAt = now()
    this.#lost = lost
  }

  restart(): void {
    this.restartAt = undefined
    this.process = this.#start()
  }
}

/** How long a job has to end after SIGTERM, in heartbeats. */
const KILL_AFTER = 0.6

export class Scene {
  readonly candidates: ReadonlyArray<Candidate>
  readonly records: Records
  /** The server's `--settle`, in milliseconds. */
  readonly settle: number
  server: Server
  /** Until then a new leader waits, because the server has started again. */
  settledAt = 0
  readonly #folder: string
  readonly #clock: WallClock
  readonly #random: Random
  readonly #ticking: NodeJS.Timeout
  /** The farthest that the wall clock was ahead of the real one, in seconds. */
  #ahead = 0

  private constructor(
    folder: string,
    clock: WallClock,
    server: Server,
    settle: number,
    candidates: ReadonlyArray<Candidate>,
    random: Random
  ) {
    this.#folder = folder
    this.#clock = clock
    this.server = server
    this.settle = settle
    this.candidates = candidates
    this.#random = random
    this.records = new Records(new Map(candidates.map(({ name }) => [name, join(folder, name)])))
    this.#ticking = setInterval(() => this.#tick(), 20)
  }

  static async open(options: ReadonlyArray<CandidateOptions>, settle: number, random: Random): Promise<Scene> {
    const folder = mkdtempSync(join(tmpdir(), "rankd-succession-"))
    process.on("exit", () => {
      for (const pid of processesOf(folder)) process.kill(pid, "SIGKILL")
      rmSync(folder, { recursive: true, force: true })
    })
    const clock = wallClockIn(folder)
    const server = await serve(serverArgs(settle), 0, { clock })
    const proxies = await Promise.all(options.map(() => openProxy(server.port)))
    const candidates = options.map(
      (option, at) => new Candidate(option, proxies[at]!, join(folder, option.name), clock)
    )
    return new Scene(folder, clock, server, settle, candidates, random)
  }

  /** The job that recorded itself last. */
  get #lastJob(): Job | undefined {
    const [first, ...others] = this.records.read()
    return others.reduce((one, other) => (one !== undefined && one.to > other.to ? one : other), first)
  }

  /** The candidate whose job recorded itself last. */
  get leader(): Candidate {
    const job = this.#lastJob
    const leader = this.candidates.find(({ name }) => name === job?.candidate)
    if (leader === undefined) throw new Violation("no job has run")
    return leader
  }

  /** Whether the process of a job exists. */
  exists({ candidate, pid }: Job): boolean {
    return processesOf(join(this.#folder, candidate)).includes(pid) && stateOf(pid) !== "Z"
  }

  /** Ends the server with this signal, and starts another in its place after so many milliseconds. Returns when it listens. */
  async restartServer(signal: NodeJS.Signals, after: number): Promise<void> {
    const { port } = this.server
    await this.server.end(signal)
    await sleep(after)
    // Behind the clock of the last server, the epochs of the next one would grow only from the first `Hello` on.
    this.setClock(this.#ahead)
    this.server = await serve(serverArgs(this.settle), port, { clock: this.#clock })
    this.settledAt = now() + this.settle
  }

  /** Sets the wall clock of the server and the candidates so many seconds ahead of the real one. */
  setClock(seconds: number): void {
    this.#ahead = Math.max(this.#ahead, seconds)
    this.#clock.set(seconds)
  }

  /** Waits until every candidate is in line and the first of them runs its job, and it stays so. */
  async inLine(): Promise<void> {
    let since: number | undefined
    await until(
      "all candidates are in line, and one runs its job",
      () => {
        const not = this.#notInLine
        since = not === undefined ? (since ?? now()) : undefined
        // A job that has got SIGTERM may run on until then.
        return not ?? now() - since! > KILL_AFTER * this.leader.heartbeat + 2 * FRESH
      },
      IN_LINE_WITHIN
    )
    this.server.checkSound()
  }

  get #notInLine(): string | undefined {
    const ranks = this.candidates.map(({ rank }) => rank)
    if (![...ranks].sort().every((rank, at) => rank === at)) return `the ranks are ${ranks}`
    const job = this.#lastJob
    if (job === undefined) return "no job has run"
    if (job.to > now() - FRESH && this.leader.rank === 0) return undefined
    return `${job.candidate} ran last, the ranks are ${ranks}`
  }

  #tick(): void {
    for (const candidate of this.candidates) {
      candidate.hear()
      if (!candidate.process.ended) continue
      candidate.restartAt ??= now() + this.#random.below(1000)
      if (now() >= candidate.restartAt) candidate.restart()
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#ticking)
    await Promise.all(this.candidates.map(({ process }) => process.end("SIGKILL")))
    for (const { proxy } of this.candidates) proxy.close()
    await this.server.end()
  }
}

const serverArgs = (settle: number): ReadonlyArray<string> => ["--settle", `${settle / 1000}`]
