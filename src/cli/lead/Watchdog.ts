/**
 * The process that ends the command's process group when `lead` itself cannot: because a signal ended `lead` that nothing can
 * catch, or because `lead` is stopped. `watchdogScript` is its program. It runs in a session of its own, so that no
 * signal to the group of `lead` or of the command reaches it.
 *
 * Invariant: a watchdog that has died, or that does not answer, is `lost`, and never used again.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { Deferred, Effect } from "effect"
import { environment } from "./environment.ts"
import { TITLE, watchdogScript } from "./watchdogScript.ts"

/** A time of two clocks that all processes share, in milliseconds. Infinity where the system has no such clock. */
export interface Deadline {
  readonly monotonic: number
  readonly uptime: number
}

const MILLIS = 1000

const uptime = (): number => {
  try {
    return Number.parseFloat(readFileSync("/proc/uptime", "latin1")) * MILLIS || Number.POSITIVE_INFINITY
  } catch {
    return Number.POSITIVE_INFINITY
  }
}

const NANOS_PER_MILLI = 1_000_000n

const monotonic = (): number => Number(process.hrtime.bigint() / NANOS_PER_MILLI)

/** What both clocks show now. */
export const clocks = (): Deadline => ({ monotonic: monotonic(), uptime: uptime() })

/** So many milliseconds after that. */
export const after = (at: Deadline, millis: number): Deadline => ({
  monotonic: Math.floor(at.monotonic + millis),
  uptime: Math.floor(at.uptime + millis)
})

/** What a watchdog needs to hear about it. */
export const until = ({ monotonic, uptime }: Deadline): string => `until ${monotonic} ${uptime}`

/** Whether either clock shows that the time is over. */
export const isOver = (deadline: Deadline): boolean => {
  const now = uptime()
  return monotonic() >= deadline.monotonic || (Number.isFinite(now) && now >= deadline.uptime)
}

/** Milliseconds without an answer after which the watchdog is lost. */
const PATIENCE = 1500

const SILENT = "the watchdog does not answer"

type Answered = (answer: string) => void

export class Watchdog {
  /** Why this watchdog is of no use any more. */
  readonly lost = Deferred.makeUnsafe<string>()
  readonly #process: ChildProcess
  /** What waits for an answer, in order. */
  readonly #asked: Array<Answered> = [() => {}]
  /** Milliseconds since the last answer. */
  #silent = 0

  constructor() {
    // NODE_OPTIONS may ask for a debugger, or for modules that this program does without.
    const { NODE_OPTIONS: _, ...env } = environment()
    this.#process = spawn(process.execPath, ["--eval", watchdogScript], {
      argv0: TITLE,
      cwd: "/",
      detached: true,
      env,
      stdio: ["pipe", "pipe", "ignore"]
    })
    this.#process.on("error", ({ message }) => this.#lose(`the watchdog does not start: ${message}`))
    this.#process.on("exit", () => this.#lose("the watchdog has ended"))
    this.#process.stdin?.on("error", () => {})
    let text = ""
    this.#process.stdout?.setEncoding("latin1").on("data", (data: string) => {
      const lines = (text + data).split("\n")
      text = lines.pop() ?? ""
      for (const line of lines) {
        this.#silent = 0
        this.#asked.shift()?.(line)
      }
    })
  }

  get isLost(): boolean {
    return Deferred.isDoneUnsafe(this.lost)
  }

  /** Says a line, without a wait for the answer. */
  tell(line: string, answered: Answered = () => {}): void {
    if (this.isLost) return
    this.#asked.push(answered)
    this.#process.stdin?.write(`${line}\n`)
  }

  /** Says a line; succeeds with the answer. Fails when the watchdog is lost, as it is without an answer. */
  ask(line: string): Effect.Effect<string, string> {
    const answer = Effect.callback<string>((resume) => this.tell(line, (text) => resume(Effect.succeed(text))))
    const silence = Effect.delay(
      Effect.sync(() => this.#lose(SILENT)),
      PATIENCE
    )
    return Effect.raceAllFirst([
      answer,
      Effect.andThen(silence, Effect.never),
      Effect.flatMap(Deferred.await(this.lost), Effect.fail)
    ])
  }

  /**
   * To be called every `interval` milliseconds. It counts the calls until the watchdog answers, and not the time: while this
   * process is stopped, the answers wait to be read.
   */
  watch(interval: number): void {
    this.#silent = this.#asked.length === 0 ? 0 : this.#silent + interval
    if (this.#silent > PATIENCE) this.#lose(SILENT)
  }

  /** It kills the group that it still guards. */
  end(): void {
    this.#process.stdin?.end()
  }

  #lose(why: string): void {
    Deferred.doneUnsafe(this.lost, Effect.succeed(why))
    this.#process.kill("SIGKILL")
  }
}
