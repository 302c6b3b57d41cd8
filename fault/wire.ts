/** A small client, cheap enough for thousands: lines out, lines in. */
import { createConnection, type Socket } from "node:net"
import { StringDecoder } from "node:string_decoder"
import { check, until } from "./run.ts"

export class Wire {
  readonly socket: Socket
  /** Called with each line. */
  hear: (line: string) => void = () => {}
  /** Whether the connection has ended. */
  closed = false
  /** Whether the server closed it in order. */
  ended = false
  #partial = ""

  constructor(port: number) {
    const decoder = new StringDecoder("utf8")
    this.socket = createConnection({ port, host: "127.0.0.1", noDelay: true })
    this.socket.on("data", (bytes) => {
      const lines = (this.#partial + decoder.write(bytes)).split("\n")
      this.#partial = lines.pop()!
      for (const line of lines) this.hear(line)
    })
    this.socket.on("end", () => {
      this.ended = true
    })
    this.socket.on("close", () => {
      this.closed = true
    })
    // `close` follows every error.
    this.socket.on("error", () => {})
  }

  /** Whether it is connected, and has not ended its side. */
  get open(): boolean {
    return !this.closed && this.socket.writable
  }

  say(...lines: ReadonlyArray<string>): void {
    if (this.open) this.socket.write(`${lines.join("\n")}\n`)
  }

  /** Sends nothing more, and still receives. */
  endSide(): void {
    this.socket.end()
  }

  /** Sends `lines`, and resolves with the lines received up to the first that `isLast` accepts. */
  async ask(lines: ReadonlyArray<string>, isLast: (line: string) => boolean): Promise<Array<string>> {
    const { hear } = this
    const heard: Array<string> = []
    let answered = false
    this.hear = (line) => {
      hear(line)
      if (!answered) heard.push(line)
      answered ||= isLast(line)
    }
    this.say(...lines)
    await until(`an answer to ${lines.join(" | ").slice(0, 200)}`, () => answered || this.closed)
    this.hear = hear
    check(answered, () => `closed, and no answer to ${lines.join(" | ").slice(0, 200)}`)
    return heard
  }
}
