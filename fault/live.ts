/**
 * A live server under fire: many connections send hostile lines, each followed by a
 * PING of its own, so that everything before its PONG is the answer to the line.
 */
import { jsonCodec } from "../src/protocol/json/JsonCodec.ts"
import type { ServerMessage } from "../src/protocol/Messages.ts"
import { textCodec } from "../src/protocol/text/TextCodec.ts"
import { UNASKED, wrongWith } from "./answers.ts"
import { CONTROL, read } from "./decoder.ts"
import { keep, lineOf } from "./inputs.ts"
import { isForeign, open, STOLEN } from "./openings.ts"
import type { Random } from "./random.ts"
import { check, until, Violation } from "./run.ts"
import type { Server } from "./server.ts"
import { Wire } from "./wire.ts"

const LIMIT = 65_536

/** Lines in one write. */
const BATCH = 48

/** Connections at the same time: most of them have members above and below. */
const CONNECTIONS = 12

/** A client, its unanswered lines, and the messages received meanwhile. */
class Fuzzed {
  readonly wire: Wire
  readonly #seed: number
  readonly #waiting: Array<{ readonly line: Buffer; readonly mark: string }> = []
  #heard: Array<ServerMessage> = []
  #ranked: boolean
  #first = true
  #marks = 0

  constructor(port: number, seed: number, ranked: boolean) {
    this.#seed = seed
    this.#ranked = ranked
    this.wire = new Wire(port)
    this.wire.hear = (line) => this.#hear(line)
  }

  /** The first violation; the client checks nothing after it. */
  failure: unknown

  get idle(): boolean {
    return this.#waiting.length === 0
  }

  /** Sends the lines, in pieces of any size. Resolves when all are answered, or the server has closed the connection and may. */
  async say(lines: ReadonlyArray<Buffer>, random: Random): Promise<void> {
    const bytes = Buffer.concat(
      lines.flatMap((line) => {
        const mark = `mark ${++this.#marks}`
        this.#waiting.push({ line, mark })
        return [line, Buffer.from(`\nPING ${mark}\n`)]
      })
    )
    for (let at = 0; at < bytes.length; ) {
      const length = random.chance(0.9) ? bytes.length : 1 + random.below(2000)
      this.wire.socket.write(bytes.subarray(at, at + length))
      at += length
    }
    await until("the answers to a batch", () => this.failure !== undefined || this.wire.closed || this.idle)
    const wrong = this.failure === undefined && !this.idle ? this.#closedRightly() : undefined
    if (wrong !== undefined) this.#fail(wrong)
    if (this.failure !== undefined) throw this.failure
  }

  #hear(text: string): void {
    const wrong = this.failure === undefined ? this.#take(text) : undefined
    if (wrong !== undefined) this.#fail(wrong)
  }

  /** Takes a line of the server. Returns what is wrong with it. */
  #take(text: string): string | undefined {
    if (CONTROL.test(text)) return `the server sends a control character: ${JSON.stringify(text.slice(0, 300))}`
    const said = text.startsWith("{") ? jsonCodec.decodeServer(text) : textCodec.decodeServer(text)
    if (said._tag === "Failure") return `the server says ${text.slice(0, 300)}: ${said.failure.detail}`
    const message = said.success
    if (message._tag !== "Roster" && Buffer.byteLength(text) >= LIMIT) {
      return `the server says a line of ${Buffer.byteLength(text)} bytes: ${text.slice(0, 100)}`
    }
    const [waiting] = this.#waiting
    if (waiting === undefined || message._tag !== "Pong" || message.text !== waiting.mark) {
      this.#heard.push(message)
      if (message._tag === "Rank" || message._tag === "Welcome") this.#ranked ||= waiting === undefined
      return undefined
    }
    this.#waiting.shift()
    const wrong = this.#answered(waiting.line, this.#heard.splice(0))
    this.#first = false
    return wrong
  }

  /** Why the answer is wrong; undefined if it is right. */
  #answered(line: Buffer, heard: ReadonlyArray<ServerMessage>): string | undefined {
    const whole = line.at(-1) === 0x0d ? line.subarray(0, -1) : line
    const ranked = this.#ranked
    this.#ranked ||= heard.some(({ _tag }) => _tag === "Rank" || _tag === "Welcome")
    if (whole.length === 0) return undefined
    if (this.#first && isForeign(whole)) return this.#describe(whole, "another protocol was answered", heard)
    const wrong = wrongWith(read(whole), ranked, heard)
    return wrong && this.#describe(whole, wrong, heard)
  }

  /** Why the server should not have closed the connection; undefined if it may. */
  #closedRightly(): string | undefined {
    const { line } = this.#waiting[0]!
    const heard = this.#heard.splice(0)
    this.#waiting.splice(0)
    const whole = line.at(-1) === 0x0d ? line.subarray(0, -1) : line
    const words = heard.at(-1)
    const says = (reason: string) => words?._tag === "Error" && words.reason === reason
    if (line.length + 1 > LIMIT && says("line too long")) return undefined
    if (this.#first && isForeign(whole) && heard.every(({ _tag }) => UNASKED.has(_tag))) return undefined
    const said = read(whole)
    if (said._tag === "Success") {
      const { _tag: tag } = said.success
      if (tag === "Quit" && words?._tag === "Bye" && words.reason === "quit") return undefined
      if ((tag === "Join" || tag === "Hello") && !this.#ranked && says("server full")) return undefined
    }
    return this.#describe(whole, "closed", heard)
  }

  #describe(line: Buffer, wrong: string, heard: ReadonlyArray<ServerMessage>): string {
    const path = keep(this.#seed, line)
    const answers = JSON.stringify(heard.slice(-5)).slice(0, 500)
    return `${wrong}: ${JSON.stringify(line.toString("latin1").slice(0, 300))}, now in ${path}, was answered ${answers}`
  }

  #fail(why: string): void {
    this.failure ??= new Violation(why)
    this.wire.socket.destroy()
  }
}

/** Continues until the deadline, and returns the number of lines. */
export const fuzz = async (server: Server, ranked: boolean, random: Random, seed: number, deadline: number) => {
  let count = 0
  let connections = 0
  const worker = async (random: Random) => {
    while (performance.now() < deadline) {
      if (random.chance(0.5)) {
        connections++
        count += await open(server.port, random, seed)
        continue
      }
      const client = new Fuzzed(server.port, seed, ranked)
      connections++
      const lives = random.chance(0.3) ? 1 : 1 + random.below(60)
      for (let life = 0; life < lives && !client.wire.closed && performance.now() < deadline; life++) {
        const lines = Array.from({ length: BATCH }, () => lineOf(random, LIMIT))
        await client.say(lines, random)
        count += lines.length
      }
      if (random.chance(0.5)) client.wire.socket.resetAndDestroy()
      else client.wire.socket.end()
    }
  }
  const watching = new Wire(server.port)
  let stolen: string | undefined
  watching.hear = (line) => {
    if (line.includes(STOLEN)) stolen ??= line
  }
  watching.say(...(ranked ? [] : ["JOIN default"]), "WATCH")
  await Promise.all(Array.from({ length: CONNECTIONS }, () => worker(random.fork())))
  check(stolen === undefined, () => `a line behind another protocol was executed: ${stolen}`)
  watching.socket.destroy()
  server.checkSound()
  return { count, connections }
}

/** The server must still work after all that. */
export const checkServes = async (server: Server): Promise<void> => {
  const wire = new Wire(server.port)
  const heard = await wire.ask(["JOIN after", "PING after"], (line) => line === "PONG after")
  check(
    heard.some((line) => line.startsWith("RANK 0 1 ")),
    () => `is not served any more: ${heard.join(" | ")}`
  )
  wire.socket.destroy()
}
