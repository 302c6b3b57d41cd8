/**
 * Executes the commands that reach this client: it owns the handlers, and the commands that run. It does not
 * decide what may run; the handler does.
 *
 * Invariant: a tracked command is answered exactly once, however its handler ends; after the connection
 * breaks, never: the server of the next connection does not know it, and may use its id again.
 */
import type { Scope } from "effect"
import { Cause, Effect, Exit, type Fiber, FiberSet, Schema } from "effect"
import { ClientMessage, type ExecutorStatus, type ServerMessage } from "../protocol/Messages.ts"
import type { Connection } from "./Connection.ts"

/** A command that reached this client. */
export interface IncomingCommand {
  /** The issuer's rank. */
  readonly from: number
  readonly command: string
  /** The epoch of the order that the command was routed on; undefined if it came before the server knew that this client speaks JSON. */
  readonly epoch: number | undefined
  /** Sends partial output, of any length, to the issuer, if it asked for the outcome. */
  readonly output: (text: string) => Effect.Effect<void>
}

/** How a command ended. */
export interface Ended {
  /** An exit code, 0 to 255, or `denied`, `failed`, `cancelled`, `busy`. */
  readonly status: ExecutorStatus
  /** Output that was not sent yet, of any length. */
  readonly output?: string
  /** Whether there was more output than was sent. */
  readonly truncated?: boolean
}

export type Handler = (command: IncomingCommand) => Effect.Effect<Ended>

export interface Executor {
  readonly execute: (exec: Exec) => void
  /** The issuer has withdrawn the command: interrupts its handler. */
  readonly cancel: (id: string) => void
  /** The connection broke: the handlers continue, but are not answered for. */
  readonly broken: () => void
  /** Gives later commands to this handler, until the scope closes; what the handler still runs is then interrupted. */
  readonly handle: (handler: Handler) => Effect.Effect<void, never, Scope.Scope>
}

type Exec = ServerMessage & { readonly _tag: "Exec" }

const isClientMessage = Schema.is(ClientMessage)

/** How a handler ended, whatever it did. */
const endOf = (exit: Exit.Exit<Ended>): Effect.Effect<Ended> => {
  if (Exit.isFailure(exit)) {
    if (Cause.hasInterruptsOnly(exit.cause)) return Effect.succeed({ status: "cancelled" })
    return Effect.as(Effect.logError("a handler failed", exit.cause), { status: "failed" })
  }
  const { output, ...ended } = exit.value
  const wellFormed = output === undefined ? ended : { ...ended, output: output.toWellFormed() }
  if (isClientMessage({ _tag: "Result", id: "id", ...wellFormed })) return Effect.succeed(wellFormed)
  return Effect.as(Effect.logError("a handler returned no valid outcome", exit.value), { status: "failed" })
}

interface Registration {
  readonly handler: Handler
  readonly run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
}

const register = Effect.fnUntraced(function* (handler: Handler) {
  const run = yield* FiberSet.makeRuntime<never, void>()
  return { handler, run } satisfies Registration
})

/** Bytes of an `Output` or `Result` besides its text, at most. */
const FRAME_BYTES = 256

/** A UTF-16 code unit has three bytes in UTF-8, but six where JSON escapes it. */
const ESCAPED_BYTES = 6

/**
 * Cuts output into pieces that each fit on a line of `maxLine` bytes, however JSON escapes them. It yields all
 * but the last, which it returns. The halves of a surrogate pair stay together.
 */
function* pieces(text: string, maxLine: number): Generator<string, string> {
  const length = Math.floor((maxLine - FRAME_BYTES) / ESCAPED_BYTES)
  let from = 0
  while (text.length - from > length) {
    const endsInPair = /[\ud800-\udbff]/.test(text.charAt(from + length - 1))
    const end = from + length - (endsInPair ? 1 : 0)
    yield text.slice(from, end)
    from = end
  }
  return text.slice(from)
}

/** Sends a text but for its last piece, and succeeds with that piece. */
const sendHead = Effect.fnUntraced(function* ({ maxLine, say }: Connection, id: string, text: string) {
  const parts = pieces(text.toWellFormed(), maxLine())
  for (let part = parts.next(); ; part = parts.next()) {
    if (part.done) return part.value
    yield* say({ _tag: "Output", id, text: part.value })
  }
})

/** Runs one command, then calls `answer`. `asked` is its id while the server waits for its outcome. */
const executing = (
  connection: Connection,
  handler: Handler,
  { command, epoch, from }: Exec,
  asked: () => string | undefined,
  answer: (end: Ended) => void
): Effect.Effect<void> => {
  const output = (text: string) =>
    Effect.suspend(() => {
      const id = asked()
      if (id === undefined || text === "") return Effect.void
      return Effect.flatMap(sendHead(connection, id, text), (rest) =>
        connection.say({ _tag: "Output", id, text: rest })
      )
    })
  const ended = Effect.gen(function* () {
    const end = yield* endOf(yield* Effect.exit(Effect.suspend(() => handler({ from, command, epoch, output }))))
    const id = asked()
    if (id === undefined || end.output === undefined) return end
    return { ...end, output: yield* sendHead(connection, id, end.output) }
  })
  return Effect.asVoid(
    Effect.onExit(ended, (exit) =>
      Effect.sync(() => answer(Exit.isSuccess(exit) ? exit.value : { status: "cancelled" }))
    )
  )
}

/** `fallback` executes commands while there is no other handler. */
export const make = Effect.fnUntraced(function* (
  connection: Connection,
  fallback: Handler
): Effect.fn.Return<Executor, never, Scope.Scope> {
  const first = yield* register(fallback)
  /** The last one executes what comes. */
  const handlers: Array<Registration> = []
  /** The tracked commands that run and that the server waits for, by its ids. */
  const running = new Map<string, Fiber.Fiber<void>>()

  return {
    execute: (exec) => {
      const { handler, run } = handlers.at(-1) ?? first
      const { id } = exec
      const number = connection.connection()
      const asked = () =>
        id !== undefined && connection.connection() === number && running.get(id) === fiber ? id : undefined
      const answer = (end: Ended) => {
        const id = asked()
        if (id === undefined) return
        running.delete(id)
        connection.tell({ _tag: "Result", id, ...end })
      }
      let fiber: Fiber.Fiber<void> | undefined
      // By its second turn the fiber is in `running`, however soon the handler ends.
      fiber = run(Effect.andThen(Effect.yieldNow, executing(connection, handler, exec, asked, answer)))
      if (id !== undefined) running.set(id, fiber)
    },
    cancel: (id) => {
      const fiber = running.get(id)
      running.delete(id)
      fiber?.interruptUnsafe()
    },
    broken: () => running.clear(),
    handle: Effect.fnUntraced(function* (handler) {
      // This scope closes in reverse order: first no new command comes, then those that run are interrupted and answered.
      const registration = yield* register(handler)
      yield* Effect.acquireRelease(
        Effect.sync(() => handlers.push(registration)),
        () => Effect.sync(() => handlers.splice(handlers.indexOf(registration), 1))
      )
    })
  }
})
