/** The server as a process of its own: started, measured, watched, paused and killed. */
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { descriptorsOf, memoryOf } from "../test/support/process.ts"
import { check, until, Violation } from "./run.ts"

const root = fileURLToPath(new URL("..", import.meta.url))

/** What nothing that this project runs says on standard error, unless it fails. */
const TROUBLE =
  /unhandled|uncaught|internal error|FATAL|\b(?:Type|Range|Reference|Syntax)Error\b|^\s+at .*:\d+:\d+|level=(?:ERROR|FATAL)/im

/** V8 collects garbage as soon as there is a tenth more of it: then what grows is what is kept, and shows within minutes. */
const COLLECTING = ["--heap-growing-percent=10", "--max-semi-space-size=4"]

const children = new Set<ChildProcess>()
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL")
})

/** `rankd` with these arguments. It ends with this process at the latest. */
export class Process {
  readonly child: ChildProcess
  /** The end of what it said: a soak must not fill up with it. */
  stdout = ""
  stderr = ""
  #trouble: string | undefined

  constructor(args: ReadonlyArray<string>) {
    const { NO_COLOR: _, ...env } = process.env
    this.child = spawn(process.execPath, [...COLLECTING, "--import", "tsx", "src/main.ts", ...args], {
      cwd: root,
      env: { ...env, NO_COLOR: "1" },
      stdio: ["ignore", "pipe", "pipe"]
    })
    children.add(this.child)
    this.child.on("close", () => children.delete(this.child))
    this.child.stdout!.setEncoding("utf8").on("data", (text) => {
      this.stdout = (this.stdout + text).slice(-10_000)
    })
    this.child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      if (TROUBLE.test(text)) this.#trouble ??= text
      this.stderr = (this.stderr + text).slice(-10_000)
    })
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

  /** Ends it, and succeeds when it is gone. */
  async end(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    this.signal(signal)
    await until(`the end of ${this.child.spawnargs.join(" ")}`, () => this.ended)
  }

  /** That it runs, and has not complained of itself. */
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

/** A server that listens; on a port of the kernel's choice, unless it has to be the one of before. */
export const serve = async (args: ReadonlyArray<string>, port = 0): Promise<Server> => {
  // A line a client is too much of a log for thousands; what goes wrong is logged above that.
  const server = new Process(["serve", "--port", `${port}`, "--log-level", "warn", ...args])
  const ready = /^rankd listening on .*:(\d+)$/m
  await until("the server listens", () => {
    if (server.ended) throw new Violation(`the server did not start: ${server.stderr}`)
    return ready.test(server.stdout)
  })
  return Object.assign(server, { port: Number(ready.exec(server.stdout)![1]) })
}
