/** The server as a process: it starts, measures, watches, pauses and kills it. */
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { descriptorsOf, memoryOf } from "../test/support/process.ts"
import type { WallClock } from "../test/support/wallClock.ts"
import { check, until, Violation } from "./run.ts"
import type { Terminal } from "./terminal.ts"

const root = fileURLToPath(new URL("..", import.meta.url))

/** No program of this project prints this on standard error, unless it fails. */
const TROUBLE =
  /unhandled|uncaught|internal error|FATAL|\b(?:Type|Range|Reference|Syntax)Error\b|^\s+at .*:\d+:\d+|level=(?:ERROR|FATAL)/im

/** V8 collects garbage as soon as the heap has grown by a tenth: then growth is memory in use, and shows within minutes. */
const COLLECTING = ["--heap-growing-percent=10", "--max-semi-space-size=4"]

const children = new Set<ChildProcess>()
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL")
})

export interface Surroundings {
  /** Its wall clock. */
  readonly clock?: WallClock | undefined
  /** Where its standard error goes. */
  readonly terminal?: Terminal | undefined
}

/** `rankd` with these arguments. It ends no later than this process. */
export class Process {
  readonly child: ChildProcess
  /** The end of its output: a soak must not fill memory with it. */
  stdout = ""
  stderr = ""
  #trouble: string | undefined

  constructor(args: ReadonlyArray<string>, { clock, terminal }: Surroundings = {}) {
    const { NO_COLOR: _, ...env } = process.env
    const program =
      process.env.RANKD_PROGRAM === undefined ? ["--import", "tsx", "src/main.ts"] : [process.env.RANKD_PROGRAM]
    this.child = spawn(process.execPath, [...COLLECTING, ...program, ...args], {
      cwd: root,
      env: { ...env, ...clock?.env, NO_COLOR: "1" },
      stdio: ["ignore", "pipe", terminal?.descriptor ?? "pipe"]
    })
    children.add(this.child)
    this.child.on("close", () => children.delete(this.child))
    this.child.stdout!.setEncoding("utf8").on("data", (text) => {
      this.stdout = (this.stdout + text).slice(-10_000)
    })
    const hear = (text: string) => {
      if (TROUBLE.test(text)) this.#trouble ??= text
      this.stderr = (this.stderr + text).slice(-10_000)
    }
    this.child.stderr?.setEncoding("utf8").on("data", hear)
    if (terminal !== undefined) terminal.hear = hear
  }

  get pid(): number {
    return this.child.pid!
  }

  get ended(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }

  signal(signal: NodeJS.Signals): void {
    if (!this.ended) this.child.kill(signal)
  }

  /** Ends it, and resolves when it is gone. */
  async end(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    this.signal(signal)
    await until(`the end of ${this.child.spawnargs.join(" ")}`, () => this.ended)
  }

  /** Checks that it runs, and has logged no failure. */
  checkSound(): void {
    check(this.#trouble === undefined, () => `on standard error: ${this.#trouble}`)
    check(!this.ended, () => `ended with ${this.child.exitCode ?? this.child.signalCode}: ${this.stderr}`)
  }

  get memory(): number {
    return memoryOf(this.pid)
  }

  get descriptors(): number {
    return descriptorsOf(this.pid)
  }
}

export interface Server extends Process {
  readonly port: number
}

/** A listening server: on the given port, or on one that the kernel chooses. */
export const serve = async (
  args: ReadonlyArray<string>,
  port = 0,
  surroundings: Surroundings = {}
): Promise<Server> => {
  // A log line for each of thousands of clients is too much where no terminal is to be filled; failures have a higher level.
  const quiet = surroundings.terminal === undefined ? ["--log-level", "warn"] : []
  const server = new Process(["serve", "--port", `${port}`, ...quiet, ...args], surroundings)
  const ready = /^rankd listening on .*:(\d+)$/m
  await until("the server listens", () => {
    if (server.ended) throw new Violation(`the server did not start: ${server.stderr}`)
    return ready.test(server.stdout)
  })
  return Object.assign(server, { port: Number(ready.exec(server.stdout)![1]) })
}
