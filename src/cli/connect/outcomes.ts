/** The open tracked commands of one client, and the exit status that an outcome makes. */
import { type Effect, Latch } from "effect"
import type { ClientMessage, ServerMessage, Status } from "../../protocol/Messages.ts"

/** EX_TEMPFAIL of sysexits.h: the outcome is not known, or there is none yet. */
export const UNKNOWN = 75

/** EX_NOPERM of sysexits.h. */
const DENIED = 77

const statusWords: { readonly [status in Exclude<Status, number>]: number } = {
  lost: UNKNOWN,
  timeout: UNKNOWN,
  undelivered: UNKNOWN,
  busy: UNKNOWN,
  denied: DENIED,
  failed: 1,
  cancelled: 1
}

/** What an answer adds to the exit status of a script, which is the largest of them. */
export const exitStatusOf = (message: ServerMessage): number => {
  switch (message._tag) {
    case "Result":
      return typeof message.status === "number" ? message.status : statusWords[message.status]
    case "Error":
      return DENIED
    default:
      return 0
  }
}

/** The tracked commands that have not ended. */
export class OpenCommands {
  /** By id: whether `Done` ends it. */
  readonly #open = new Map<string, boolean>()
  readonly #none = Latch.makeUnsafe(true)

  /** Waits until none is open. */
  readonly ended: Effect.Effect<void> = this.#none.await

  get ids(): ReadonlyArray<string> {
    return [...this.#open.keys()]
  }

  sent(message: ClientMessage): void {
    if (message._tag !== "Exec" || message.id === undefined || this.#open.has(message.id)) return
    this.#open.set(message.id, message.to._tag === "Everyone" || message.to._tag === "Range")
    this.#none.closeUnsafe()
  }

  /** The id of the command that this message ends, if it ends one. */
  heard(message: ServerMessage): string | undefined {
    if (message._tag !== "Done" && message._tag !== "Error" && message._tag !== "Result") return undefined
    const { id } = message
    // The command that has this id continues.
    if (message._tag === "Error" && message.reason === "duplicate id") return undefined
    if (id === undefined || (message._tag === "Result" && this.#open.get(id))) return undefined
    if (!this.#open.delete(id)) return undefined
    if (this.#open.size === 0) this.#none.openUnsafe()
    return id
  }

  /** After the connection broke: the ids of the commands whose outcome will not arrive. */
  lost(): ReadonlyArray<string> {
    const { ids } = this
    this.#open.clear()
    this.#none.openUnsafe()
    return ids
  }
}
