/** A client that never gives up: it reconnects, commands the members below, and answers those above. */
import type { ServerMessage } from "../src/protocol/Messages.ts"
import { type Oracle, Witness } from "./oracle.ts"
import type { Random } from "./random.ts"
import { Wire } from "./wire.ts"

export class Member {
  readonly name: string
  wire: Wire | undefined
  witness: Witness | undefined
  /** Whether it sends commands. */
  busy = true
  readonly #port: () => number
  readonly #oracle: Oracle
  readonly #random: Random
  #commands = 0
  #stopped = false

  constructor(name: string, port: () => number, oracle: Oracle, random: Random) {
    this.name = name
    this.#port = port
    this.#oracle = oracle
    this.#random = random
    this.#connect()
  }

  get ranked(): boolean {
    return this.wire?.open === true && this.witness!.rank >= 0
  }

  /** Its open commands on the present connection. */
  get open(): number {
    return this.wire?.closed === false ? this.witness!.open.size : 0
  }

  stop(): void {
    this.#stopped = true
    this.wire?.socket.destroy()
  }

  #connect(): void {
    if (this.#stopped) return
    const wire = new Wire(this.#port())
    const witness = new Witness(this.#oracle, this.name)
    this.wire = wire
    this.witness = witness
    wire.hear = (line) => {
      const message = witness.hear(line)
      if (message?._tag === "Exec" && message.id !== undefined) this.#execute(wire, message)
    }
    wire.socket.on("close", () => setTimeout(() => this.#connect(), 50 + this.#random.below(100)))
    wire.say(`NAME ${this.name}`)
  }

  #execute(wire: Wire, { command, id }: ServerMessage & { _tag: "Exec" }): void {
    const random = this.#random
    const answer = () => {
      const output = `${command} by ${this.name}`
      if (random.chance(0.2)) wire.say(`OUTPUT#${id} part of it`)
      wire.say(random.chance(0.9) ? `RESULT#${id} 0 ${output}` : `RESULT#${id} denied`)
      // The server drops a second answer; it must end nothing.
      if (random.chance(0.05)) wire.say(`RESULT#${id} 1 ${output}`)
    }
    const kind = random.next()
    if (kind < 0.7) answer()
    else if (kind < 0.9) setTimeout(answer, random.below(300))
  }

  /** Sends a random line. */
  act(): void {
    if (!this.busy || !this.ranked) return
    const random = this.#random
    const [wire, witness] = [this.wire!, this.witness!]
    const kind = random.next()
    if (kind < 0.65) {
      const id = `c${++this.#commands}`
      const to = this.#to()
      const text = `${this.name} ${id} end`
      witness.issued(id, to, text)
      wire.say(`EXEC#${id} ${to} ${text}`)
    } else if (kind < 0.85) wire.say(`EXEC ${this.#to()} ${this.name} untracked`)
    else if (kind < 0.9 && witness.open.size > 0) wire.say(`CANCEL#${random.pick([...witness.open.keys()])}`)
    else if (kind < 0.94) wire.say("YIELD")
    else if (kind < 0.98) wire.say("RANKS")
    else if (kind < 0.985) wire.socket.resetAndDestroy()
    // The outcomes of its open commands still come; then the server closes the connection.
    else if (kind < 0.993) wire.endSide()
    else wire.say("QUIT")
  }

  #to(): string {
    const random = this.#random
    const { rank } = this.witness!
    const first = rank + random.below(4)
    return random.pick([
      `${first + 1}`,
      `${first + 1}`,
      `${first}-${first + random.below(4)}`,
      "*",
      "@agent0",
      "@n1",
      "0"
    ])
  }
}
