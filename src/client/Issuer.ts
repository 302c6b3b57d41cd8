/**
 * Issues commands and collects their outcomes (`PendingCommands`). Invariant: a command that its caller
 * stops waiting for is withdrawn from the server, unless it has ended.
 */
import { Duration, Effect, Latch, Option, Schema, Stream, SubscriptionRef } from "effect"
import { jsonCodec } from "../protocol/json/JsonCodec.ts"
import { ClientMessage } from "../protocol/Messages.ts"
import { isForSeveral } from "../protocol/Target.ts"
import type { Connection } from "./Connection.ts"
import { type OnOutput, Outcome, PendingCommands } from "./PendingCommands.ts"
import { Rejected } from "./Rejected.ts"

/** No target of a command ended with exit code 0; `outcomes` are all of them. */
export class NoneSucceeded extends Schema.TaggedError<NoneSucceeded>()("NoneSucceeded", {
  outcomes: Schema.Array(Outcome)
}) {
  override get message() {
    return `none of ${this.outcomes.length} targets succeeded`
  }
}

export interface ExecOptions {
  /** How long the command may take; the server has a default and a maximum. */
  readonly timeout?: Duration.Input
  /** Execute only if the order still has this epoch; else the server rejects the command with `stale epoch`. */
  readonly epoch?: number
  /** Execute only if the target is this member alone; else the server rejects the command. */
  readonly member?: string
  /** Called with partial output as it comes. Without it, that output is part of the outcome's `output`. */
  readonly onOutput?: OnOutput
}

export interface Issuer {
  readonly exec: (to: string, command: string, options?: ExecOptions) => Effect.Effect<Outcome, Rejected>
  readonly execAll: (to: string, command: string, options?: ExecOptions) => Stream.Stream<Outcome, Rejected>
  readonly execFirst: (
    to: string,
    command: string,
    options?: ExecOptions
  ) => Effect.Effect<Outcome, Rejected | NoneSucceeded>
  /** The server has admitted the client: commands may leave. */
  readonly admitted: () => void
  /** The open commands; they hear what the server says of them. */
  readonly pending: PendingCommands
}

/** How long a command waits for the first admission. */
const FIRST_ADMISSION_TIMEOUT = "5 seconds"

const Exec = ClientMessage.cases.Exec
type Exec = typeof Exec.Type

interface Prepared {
  readonly id: string
  readonly message: Exec
  readonly onOutput: OnOutput | undefined
}

const decodeExec = Schema.decodeUnknownEffect(Exec)

/** The message of a command. Fails with what the server would reject: `malformed`, `line too long`. */
const messageOf = Effect.fnUntraced(function* (
  id: string,
  to: string,
  command: string,
  { epoch, member, timeout }: ExecOptions,
  maxLine: number
) {
  const message = yield* Effect.mapError(
    decodeExec({
      _tag: "Exec",
      id,
      to,
      command,
      ...(timeout === undefined ? {} : { timeout: Math.ceil(Duration.toMillis(timeout)) }),
      ...(epoch === undefined ? {} : { epoch }),
      ...(member === undefined ? {} : { member })
    }),
    ({ message }) => new Rejected({ reason: "malformed", detail: message })
  )
  if (Buffer.byteLength(jsonCodec.encodeClient(message)) >= maxLine) {
    return yield* new Rejected({ reason: "line too long", detail: `at most ${maxLine} bytes` })
  }
  return message
})

const UNDELIVERED: Outcome = { status: "undelivered" }

/** The first outcome with exit code 0; it ends the stream, and so withdraws the command from the other targets. */
const firstSuccess = Effect.fnUntraced(function* (all: Stream.Stream<Outcome, Rejected>) {
  const outcomes: Array<Outcome> = []
  const first = yield* all.pipe(
    Stream.tap((outcome) => Effect.sync(() => outcomes.push(outcome))),
    Stream.filter(({ status }) => status === 0),
    Stream.runHead
  )
  return Option.isSome(first) ? first.value : yield* new NoneSucceeded({ outcomes })
})

export const make = Effect.fnUntraced(function* ({
  maxLine,
  say,
  standing,
  tell
}: Connection): Effect.fn.Return<Issuer> {
  const pending = new PendingCommands()
  const firstAdmission = yield* Latch.make()

  const prepare = Effect.fnUntraced(function* (to: string, command: string, options: ExecOptions = {}) {
    const id = pending.nextId()
    const message = yield* messageOf(id, to, command, options, maxLine())
    return { id, message, onOutput: options.onOutput }
  })

  /** Sends a command; the end of the scope withdraws it, if it has not ended. */
  const send = Effect.fnUntraced(function* ({ id, message, onOutput }: Prepared) {
    yield* Effect.timeoutOption(firstAdmission.await, FIRST_ADMISSION_TIMEOUT)
    if (SubscriptionRef.getUnsafe(standing) === undefined) return Stream.succeed(UNDELIVERED)
    const command = yield* Effect.acquireRelease(pending.open(id, isForSeveral(message.to), onOutput), () =>
      Effect.sync(() => {
        if (pending.withdraw(id)) tell({ _tag: "Cancel", id })
      })
    )
    yield* say(message, () => {
      command.sent = true
    })
    return Stream.fromQueue(command.outcomes)
  })

  const execAll: Issuer["execAll"] = (to, command, options) =>
    Stream.unwrap(Effect.flatMap(prepare(to, command, options), send))

  return {
    pending,
    admitted: () => firstAdmission.openUnsafe(),
    execAll,
    execFirst: (to, command, options) => firstSuccess(execAll(to, command, options)),
    exec: Effect.fnUntraced(function* (to, command, options) {
      const prepared = yield* prepare(to, command, options)
      if (isForSeveral(prepared.message.to)) {
        const detail = `${to} is for several: use execAll or execFirst`
        return yield* new Rejected({ reason: "malformed", detail })
      }
      // A command to one target has one outcome.
      return Option.getOrThrow(yield* Stream.runHead(Stream.unwrap(send(prepared))))
    })
  }
})
