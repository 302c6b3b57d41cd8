/** A terminal that processes write to, and that can be stopped, as by Ctrl-S. */
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, constants, openSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { until } from "./run.ts"

const program = fileURLToPath(new URL("terminal.py", import.meta.url))

export class Terminal {
  /** For the standard descriptors of a process. */
  readonly descriptor: number
  /** Called with what is written to it. */
  hear: (text: string) => void = () => {}
  readonly #process: ChildProcess

  private constructor(process: ChildProcess, path: string) {
    this.#process = process
    this.descriptor = openSync(path, constants.O_RDWR | constants.O_NOCTTY)
    process.stdout!.on("data", (text: string) => this.hear(text))
  }

  static async open(): Promise<Terminal> {
    const process = spawn("python3", [program], { stdio: ["pipe", "pipe", "inherit"] })
    let path = ""
    const named = (text: string) => {
      path += text
    }
    process.stdout.setEncoding("utf8").on("data", named)
    await until("a terminal", () => path.endsWith("\n"))
    process.stdout.off("data", named)
    return new Terminal(process, path.trim())
  }

  stop(): void {
    this.#process.stdin!.write("stop\n")
  }

  go(): void {
    this.#process.stdin!.write("go\n")
  }

  close(): void {
    closeSync(this.descriptor)
    this.#process.kill()
  }
}
