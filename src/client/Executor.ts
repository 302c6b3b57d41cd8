/**
 * What this client executes for others: the handlers that there are, and what they
 * have under way. A tracked command that reaches a handler is answered once,
 * however the handler ends.
 */
import type { Scope } from "effect"
import { Cause, Effect, Exit, type Fiber, FiberSet, Schema } from "effect"
import { ClientMessage, type ExecutorStatus, type ServerMessage } from "../protocol/Messages.ts"
import type { Link } from "./Connection.ts"

/** A command that reached this client. */
export interface Order {
  /** The issuer's rank. */
  readonly from: number
  readonly command: string
  /** Of the order that it was routed on; undefined where it was told in text, before the server knew better. */
  readonly epoch: number | undefined
  /** Tells partial output, of any length, to the issuer, where it asked for the outcome. */
  readonly output: (text: string) => Effect.Effect<void>
}

/** How an order ended. */
export interface Ended {
  /** An exit code, 0 to 255, or `denied`, `failed`, `cancelled`, `busy`. */
  readonly status: ExecutorStatus
  /** Of any length: it is passed on in as many lines as it takes. */
  readonly output?: string
  /** Whether there was more output than is told. */
  readonly truncated?: boolean
}

export type Handler = (order: Order) => Effect.Effect<Ended>

export interface Executor {
  readonly execute: (exec: ServerMessage & { readonly _tag: "Exec" }) => void
  /** The issuer has withdrawn it. */
  readonly cancel: (id: string) => void
  /** What is executed goes on; nobody is to be told of it any more. */
  readonly broken: () => void
  readonly handle: (handler: Handler) => Effect.Effect<void, never, Scope.Scope>
}

/** What of a line is not its text, at most. */
const FRAME_BYTES = 256

/** A UTF-16 code unit has three bytes in UTF-8, but six where JSON escapes it. */
const ESCAPED_BYTES = 6

/** Of a text, pieces that each fit a line of `maxLine` bytes, however they are escaped. */
function* pieces(text: string, maxLine: number): Generator<string, string> {
  const length = Math.floor((maxLine - FRAME_BYTES) / ESCAPED_BYTES)
  let from = 0
  while (text.length - from > length) {
    // The halves of a surrogate pair stay together.
    const end = from + length - (/[\ud800-\udbff]/.test(text[from + length - 1]!) ? 1 : 0)
    yield text.slice(from, end)
    from = end
  }
  return text.slice(from)
}

const isClientMessage = Schema.is(ClientMessage)

interface Registration {
  readonly handler: Handler
  readonly run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
}

/** @param first executes while no other handler is there */
export const make = Effect.fnUntraced(function* (
  link: Link,
  first: Handler
): Effect.fn.Return<Executor, never, Scope.Scope> {
  /** The last one executes what comes. */
  const handlers: Array<Registration> = []
  /** The tracked orders that are under way, by the server's ids. */
  const running = new Map<string, Fiber.Fiber<void>>()

  /** Says all of a text but its last piece, which it succeeds with. */
  const outputs = Effect.fnUntraced(function* (id: string, text: string) {
    const parts = pieces(text.toWellFormed(), link.maxLine())
    for (let part = parts.next(); ; part = parts.next()) {
      if (part.done) return part.value
      yield* link.say({ _tag: "Output", id, text: part.value })
    }
  })

  /** How a handler ended, whatever it did. */
  const endOf = (exit: Exit.Exit<Ended>): Effect.Effect<Ended> => {
    if (Exit.isFailure(exit)) {
      if (Cause.hasInterruptsOnly(exit.cause)) return Effect.succeed({ status: "cancelled" })
      return Effect.as(Effect.logError("a handler failed", exit.cause), { status: "failed" })
    }
    const { output, ...ended } = exit.value
    const well = output === undefined ? ended : { ...ended, output: output.toWellFormed() }
    if (isClientMessage({ _tag: "Result", id: "id", ...well })) return Effect.succeed(well)
    return Effect.as(Effect.logError("a handler ended with what is no outcome", exit.value), { status: "failed" })
  }

  const execute: Executor["execute"] = ({ command, epoch, from, id }) => {
    const { handler, run } = handlers.at(-1)!
    const connection = link.connection()
    /** Whether there still is somebody to tell: a new connection's server knows nothing of it. */
    const asked = () => id !== undefined && link.connection() === connection && running.get(id) === fiber
    const output = (text: string) =>
      Effect.suspend(() =>
        text !== "" && asked()
          ? Effect.flatMap(outputs(id!, text), (text) => link.say({ _tag: "Output", id: id!, text }))
          : Effect.void
      )
    const ended = Effect.gen(function* () {
      const end = yield* endOf(yield* Effect.exit(Effect.suspend(() => handler({ from, command, epoch, output }))))
      if (end.output === undefined || !asked()) return end
      return { ...end, output: yield* outputs(id!, end.output) }
    })
    const answered = Effect.onExit(ended, (exit) =>
      Effect.sync(() => {
        if (!asked()) return
        running.delete(id!)
        link.tell({ _tag: "Result", id: id!, ...(Exit.isSuccess(exit) ? exit.value : { status: "cancelled" }) })
      })
    )
    let fiber: Fiber.Fiber<void> | undefined
    fiber = run(
      // The fiber is known by then, however soon it ends.
      Effect.andThen(Effect.yieldNow, Effect.asVoid(answered))
    )
    if (id !== undefined) running.set(id, fiber)
  }

  const register = Effect.fnUntraced(function* (handler: Handler) {
    const run = yield* FiberSet.makeRuntime<never, void>()
    return { handler, run } satisfies Registration
  })
  handlers.push(yield* register(first))

  return {
    execute,
    cancel: (id) => {
      const fiber = running.get(id)
      running.delete(id)
      fiber?.interruptUnsafe()
    },
    broken: () => running.clear(),
    handle: Effect.fnUntraced(function* (handler) {
      // Released last: what is interrupted is answered, but nothing more comes.
      const registration = yield* register(handler)
      yield* Effect.acquireRelease(
        Effect.sync(() => handlers.push(registration)),
        () => Effect.sync(() => handlers.splice(handlers.indexOf(registration), 1))
      )
    })
  }
})
