/**
 * The commands that this client has issued and that have not ended: their outcomes as they come, and the
 * partial output until then. It sends nothing.
 *
 * Invariants: a command to one target has exactly one outcome; each command ends once, with its last outcome
 * or a rejection. When the connection breaks, every open command ends, as `lost` if the server may have it
 * and as `undelivered` if it never got it; it is never sent again.
 */
import { Cause, Effect, Queue, Schema } from "effect"
import { Whole } from "../protocol/Ids.ts"
import { Output, type ServerMessage, Status } from "../protocol/Messages.ts"
import { type Rejected, rejectedBy } from "./Rejected.ts"

/**
 * How a command ended at one target. `rank` is the target's rank when the server routed the command; it
 * is missing if the connection broke: then this one outcome stands for all targets without one. `output` has
 * at most a million characters.
 */
export const Outcome = Schema.Struct({
  rank: Schema.optionalKey(Whole),
  status: Status,
  output: Schema.optionalKey(Output),
  /** Whether there was more output. */
  truncated: Schema.optionalKey(Schema.Boolean)
})
export type Outcome = typeof Outcome.Type

/** Called with a target's rank and the next piece of its output. */
export type OnOutput = (rank: number, text: string) => void

/** Characters of partial output that are kept for one outcome. */
const MAX_OUTPUT = 1024 * 1024

/** One open command. */
export interface PendingCommand {
  readonly outcomes: Queue.Queue<Outcome, Rejected | Cause.Done>
  readonly isForSeveral: boolean
  readonly onOutput: OnOutput | undefined
  /** Output that came before its outcome, by rank. */
  readonly outputs: Map<number, string>
  /** Whether the socket has taken it: the server may have it, too. */
  sent: boolean
}

type Message<Tag extends ServerMessage["_tag"]> = ServerMessage & { readonly _tag: Tag }

/** The outcome with the output that came before it. */
const withOutput = (outcome: Outcome, before: string | undefined): Outcome => {
  if (before === undefined) return outcome
  const output = before + (outcome.output ?? "")
  const isCut = output.length > MAX_OUTPUT
  return { ...outcome, output: isCut ? output.slice(0, MAX_OUTPUT) : output, ...(isCut ? { truncated: true } : {}) }
}

export class PendingCommands {
  readonly #open = new Map<string, PendingCommand>()
  #lastId = 0

  /** An id that no command of this client has had. */
  nextId(): string {
    return `c${++this.#lastId}`
  }

  readonly open = Effect.fnUntraced(
    { self: this },
    function* (id: string, isForSeveral: boolean, onOutput: OnOutput | undefined) {
      const outcomes = yield* Queue.unbounded<Outcome, Rejected | Cause.Done>()
      const command: PendingCommand = { outcomes, isForSeveral, onOutput, outputs: new Map(), sent: false }
      this.#open.set(id, command)
      return command
    }
  )

  /** Forgets a command that its issuer no longer waits for; false if it has ended already. */
  withdraw(id: string): boolean {
    return this.#open.delete(id)
  }

  /** Keeps partial output, or passes it to `onOutput`, whose defects it logs. */
  output({ id, rank, text }: Message<"Output">): Effect.Effect<void> {
    const command = this.#open.get(id)
    if (command === undefined) return Effect.void
    const { onOutput, outputs } = command
    if (onOutput !== undefined) {
      return Effect.catchDefect(
        Effect.sync(() => onOutput(rank, text)),
        (defect) => Effect.logError("onOutput failed", defect)
      )
    }
    // One character more than fits tells that there was more.
    outputs.set(rank, (outputs.get(rank) ?? "").concat(text).slice(0, MAX_OUTPUT + 1))
    return Effect.void
  }

  result({ _tag, id, ...outcome }: Message<"Result">): void {
    const command = this.#open.get(id)
    if (command === undefined) return
    Queue.offerUnsafe(command.outcomes, withOutput(outcome, command.outputs.get(outcome.rank)))
    command.outputs.delete(outcome.rank)
    if (!command.isForSeveral) this.#end(id)
  }

  done({ id }: Message<"Done">): void {
    this.#end(id)
  }

  /** The server rejected the command `id` as a whole. */
  rejected(id: string, error: Message<"Error">): void {
    this.#end(id, Cause.fail(rejectedBy(error)))
  }

  /** The connection broke: ends every command. */
  broken(): void {
    for (const [id, { outcomes, sent }] of this.#open) {
      Queue.offerUnsafe(outcomes, { status: sent ? "lost" : "undelivered" })
      this.#end(id)
    }
  }

  #end(id: string, cause?: Cause.Cause<Rejected>): void {
    const command = this.#open.get(id)
    this.#open.delete(id)
    if (command === undefined) return
    if (cause === undefined) Queue.endUnsafe(command.outcomes)
    else Queue.failCauseUnsafe(command.outcomes, cause)
  }
}
