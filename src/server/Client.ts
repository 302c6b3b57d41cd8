/**
 * A client as the others see it: where to write to it, what it was told, and how
 * to have its session end.
 */
import { type Effect, Fiber } from "effect"
import type { LeaveReason, ServerMessage } from "../protocol/Message.ts"
import { writeServer } from "../protocol/Text.ts"
import type { Outbox } from "./Outbox.ts"

/** How a session ends. */
export interface Ending {
  readonly reason: LeaveReason
  /** The last thing the client is told; nothing where it closed the connection itself. */
  readonly lastWords?: ServerMessage
}

/** A rank that nobody has: the client is to be told its rank before anything else. */
export const NOT_TOLD = -1

export class Client {
  readonly address: string
  readonly outbox: Outbox
  /** The rank that it was last told. */
  told = NOT_TOLD
  /** Set once, when it is decided that the session ends; from then on it does nothing more. */
  ending: Ending | undefined
  readonly #session: Fiber.Fiber<unknown, unknown>

  constructor(options: { address: string; outbox: Outbox; session: Fiber.Fiber<unknown, unknown> }) {
    this.address = options.address
    this.outbox = options.outbox
    this.#session = options.session
  }

  /** Succeeds when the session has ended, and the connection is closed. */
  get ended(): Effect.Effect<unknown> {
    return Fiber.await(this.#session)
  }

  say(message: ServerMessage): void {
    this.outbox.appendLine(writeServer(message))
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
