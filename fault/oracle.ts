/**
 * The invariants that hold whatever happens, as clients see them: it checks every line
 * that a client receives against docs/protocol.md. An `Oracle` knows what concerns all
 * clients, a `Witness` what concerns one connection.
 */
import type { ServerMessage } from "../src/protocol/Messages.ts"
import { textCodec } from "../src/protocol/text/TextCodec.ts"
import { Violation } from "./run.ts"

/** Epochs to remember. */
const MAX_EPOCHS = 50_000

export class Oracle {
  /** The first violation. */
  violation: string | undefined
  /** Ends of tracked commands, by status. */
  readonly ends = new Map<string, number>()
  /** Connections that a server has served. */
  connections = 0
  /** The member with rank 0 under each epoch. */
  readonly #firsts = new Map<number, string>()
  /** The client that acted as the leader under each epoch. */
  readonly #leaders = new Map<number, string>()
  /** The client of this process that acts as the leader now. */
  #acting: string | undefined
  #newestEpoch = 0
  /** Servers so far. A line belongs to the server that its connection was made to. */
  #server = 0
  #restartEpoch = 0

  get server(): number {
    return this.#server
  }

  /** Another server runs from now on: its epochs are larger than any before. */
  restarted(): void {
    this.#server++
    this.#restartEpoch = this.#newestEpoch
  }

  violate(what: string): void {
    this.violation ??= what
  }

  check(): void {
    if (this.violation !== undefined) throw new Violation(this.violation)
  }

  ranked(server: number, rank: number, epoch: number, member: string): void {
    if (server !== this.#server) return
    if (epoch <= this.#restartEpoch) this.violate(`epoch ${epoch} after a restart, and ${this.#restartEpoch} before`)
    this.#newestEpoch = Math.max(this.#newestEpoch, epoch)
    if (rank === 0) this.#first(this.#firsts, epoch, `${member} of server ${server}`)
  }

  /** A client or a process begins to act as the leader under this epoch. */
  leads(epoch: number, who: string): void {
    this.#first(this.#leaders, epoch, who)
  }

  /** A client of this process acts as the leader under this epoch, until `stopped`. */
  acts(epoch: number, who: string): void {
    if (this.#acting !== undefined) this.violate(`${who} acts under ${epoch}, and ${this.#acting} still acts`)
    this.#acting = who
    this.leads(epoch, who)
  }

  /** The leader does not act any more. */
  stopped(): void {
    this.#acting = undefined
  }

  /** The first leader under an epoch is the only one. */
  #first(firsts: Map<number, string>, epoch: number, who: string): void {
    const first = firsts.get(epoch) ?? who
    if (first !== who) this.violate(`${first} and ${who} both lead under epoch ${epoch}`)
    firsts.set(epoch, who)
    // No line comes so late that more would help.
    if (firsts.size > MAX_EPOCHS) firsts.delete(firsts.keys().next().value!)
  }

  ended(status: string): void {
    this.ends.set(status, (this.ends.get(status) ?? 0) + 1)
  }

  get summary(): string {
    return [...this.ends].map(([status, count]) => `${count} ${status}`).join(", ")
  }
}

interface Command {
  readonly several: boolean
  readonly text: string
  /** The ranks at which the command has ended, and how. */
  readonly ends: Map<number, string | number>
  readonly outputs: Map<number, string>
}

type Tracked = Extract<ServerMessage, { _tag: "Result" | "Output" | "Done" }>

/** One text connection: its rank and its open commands. */
export class Witness {
  readonly #oracle: Oracle
  readonly #name: string
  readonly #server: number
  rank = -1
  #epoch = 0
  member = ""
  /** Commands that this client received and that were not withdrawn, by the server's id. */
  readonly #reached = new Set<string>()
  /** Its own commands that have not ended. */
  readonly open = new Map<string, Command>()
  /** The list being received. */
  #listed = 0

  constructor(oracle: Oracle, name: string) {
    this.#oracle = oracle
    this.#name = name
    this.#server = oracle.server
    oracle.connections++
  }

  issued(id: string, to: string, text: string): void {
    this.open.set(id, { several: /[*-]/.test(to), text, ends: new Map(), outputs: new Map() })
  }

  /** Takes a line, and returns its message. */
  hear(line: string): ServerMessage | undefined {
    const said = textCodec.decodeServer(line)
    if (said._tag === "Failure") {
      this.#wrong(`${line}: ${said.failure.detail ?? said.failure.reason}`)
      return undefined
    }
    this.#judge(said.success, line)
    return said.success
  }

  #judge(message: ServerMessage, line: string): void {
    switch (message._tag) {
      case "Rank": {
        if (message.epoch <= this.#epoch) this.#wrong(`epoch ${this.#epoch}, then ${line}`)
        if (message.rank >= message.size) this.#wrong(`a rank beyond the size: ${line}`)
        if (this.member !== "" && this.member !== message.member) this.#wrong(`was ${this.member}: ${line}`)
        this.#epoch = message.epoch
        this.rank = message.rank
        this.member = message.member
        this.#oracle.ranked(this.#server, message.rank, message.epoch, message.member)
        return
      }
      case "Exec":
        if (message.from >= this.rank) this.#wrong(`commanded from below, at rank ${this.rank}: ${line}`)
        if (message.id === undefined) return
        if (this.#reached.has(message.id)) this.#wrong(`reached twice: ${line}`)
        this.#reached.add(message.id)
        return
      case "Cancel":
        if (!this.#reached.has(message.id)) this.#wrong(`withdrawn, and was never asked: ${line}`)
        return
      case "Output":
      case "Result":
      case "Done":
        this.#tracked(message, line)
        return
      case "Error": {
        if (message.id === undefined) return
        const command = this.open.get(message.id)
        if (command === undefined || command.ends.size > 0) this.#wrong(`an end too many: ${line}`)
        this.#end(message.id, message.reason)
        return
      }
      case "Member":
        if (message.rank !== this.#listed++) this.#wrong(`ranks are not dense: ${line}`)
        if ((message.member === this.member) !== (message.rank === this.rank)) {
          this.#wrong(`was told rank ${this.rank} as ${this.member}, and is listed otherwise: ${line}`)
        }
        return
      case "End":
        if (message.size !== this.#listed) this.#wrong(`${this.#listed} are listed: ${line}`)
        this.#listed = 0
        return
    }
  }

  #tracked(message: Tracked, line: string): void {
    const command = this.open.get(message.id)
    if (command === undefined) {
      this.#wrong(`no such command is open: ${line}`)
      return
    }
    if (message._tag === "Done") {
      const ok = [...command.ends.values()].filter((status) => status === 0).length
      if (!command.several || message.ok !== ok || message.notOk !== command.ends.size - ok) {
        this.#wrong(`${command.ends.size} ends, ${ok} of them well: ${line}`)
      }
      this.#end(message.id, undefined)
      return
    }
    if (command.ends.has(message.rank)) this.#wrong(`had ended there: ${line}`)
    if (message._tag === "Output") {
      command.outputs.set(message.rank, (command.outputs.get(message.rank) ?? "") + message.text)
      return
    }
    const output = (command.outputs.get(message.rank) ?? "") + (message.output ?? "")
    if (message.status === 0 && !output.includes(command.text)) this.#wrong(`not of ${command.text}: ${line}`)
    command.ends.set(message.rank, message.status)
    this.#oracle.ended(`${message.status}`)
    if (!command.several) this.#end(message.id, undefined)
  }

  #end(id: string, how: string | undefined): void {
    this.open.delete(id)
    if (how !== undefined) this.#oracle.ended(how)
  }

  #wrong(what: string): void {
    this.#oracle.violate(`${this.#name} (${this.member}): ${what}`)
  }
}
