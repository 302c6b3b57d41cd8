/**
 * A client as the others see it: where to write to it, in which encoding, what it
 * was told, and how to have its session end.
 */
import { type Effect, Fiber } from "effect"
import { jsonCodec } from "../protocol/json/JsonCodec.ts"
import type { ServerMessage } from "../protocol/Messages.ts"
import type { ByeReason, LeaveReason } from "../protocol/Reasons.ts"
import { textCodec } from "../protocol/text/TextCodec.ts"
import type { Grant } from "./admission/Access.ts"
import type { RateLimit } from "./admission/RateLimiter.ts"
import type { Command } from "./commands/Commands.ts"
import type { Task } from "./commands/Delivery.ts"
import type { Outbox } from "./outbound/Outbox.ts"

/** How a session ends. */
export interface Ending {
  readonly reason: LeaveReason
  /** The last thing the client is told; nothing where it closed the connection itself. */
  readonly lastWords?: ServerMessage
}

export const farewell = (reason: ByeReason): Ending => ({ reason, lastWords: { _tag: "Bye", reason } })

/** A rank that nobody has: the client is to be told its rank before anything else. */
export const NOT_TOLD = -1

/** Never added to: most clients issue none. */
export const NO_COMMANDS = new Map<string, Command>()

export class Client {
  readonly address: string
  readonly outbox: Outbox
  /** `m7`; none before it is admitted. It keeps it wherever it goes. */
  member: string | undefined
  /** What it may do; none before it has shown a token, where one is asked for. */
  grant: Grant | undefined
  /** Whether that lets it execute commands: what is looked at for each command. */
  executes = true
  /** Of the token that it has shown. */
  granted: Grant | undefined
  /** Text until its first line that is JSON. */
  encoding: "text" | "json" = "text"
  /** How many commands it may give; any number where there is none. */
  rate: RateLimit | undefined
  /** The rank that it was last told. */
  told = NOT_TOLD
  /** Whether it has said anything since that was last looked at. */
  heard = false
  /** Whether its connection is lost, and its place held. */
  absent = false
  /** Set once, when it is decided that the session ends; from then on it does nothing more. */
  ending: Ending | undefined
  /** Its open commands, by its own ids. Kept by `Commands`. */
  commands = NO_COMMANDS
  /** What it is to execute: the task that came last, from which the others follow. Kept by `Tasks`. */
  lastTask: Task | undefined
  readonly #session: Fiber.Fiber<unknown, unknown>

  constructor(address: string, outbox: Outbox, session: Fiber.Fiber<unknown, unknown>) {
    this.address = address
    this.outbox = outbox
    this.#session = session
  }

  /** Succeeds when the session has ended, and the connection is closed. */
  get ended(): Effect.Effect<unknown> {
    return Fiber.await(this.#session)
  }

  /** The line, without its end, that says `message` to this client. */
  write(message: ServerMessage): string {
    return this.encoding === "json" ? jsonCodec.encodeServer(message) : textCodec.encodeServer(message)
  }

  /** False where it will not be written: the client is being closed. */
  say(message: ServerMessage): boolean {
    return this.outbox.appendLine(this.write(message))
  }

  /**
   * Has the session end, for the first reason that is given. It ends after the
   * caller's own step: an interruption runs the other fiber there and then, and
   * the caller may be in the middle of routing.
   */
  end(ending: Ending): void {
    if (this.ending !== undefined) return
    this.ending = ending
    queueMicrotask(() => this.#session.interruptUnsafe())
  }
}

/** Says the same to many: each encoding of it is made once, and only if one of them speaks it. */
export const sayToAll = (clients: Iterable<Client>, message: ServerMessage): void => {
  const lines: { [encoding in Client["encoding"]]?: Uint8Array } = {}
  for (const client of clients) {
    const line = lines[client.encoding] ?? Buffer.from(`${client.write(message)}\n`)
    lines[client.encoding] = line
    client.outbox.append(line, 0, line.length)
  }
}
