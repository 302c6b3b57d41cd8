/**
 * A client of a rankd server for Effect apps: it connects, again whenever it has
 * to, says who it is, and knows where it stands; it has others execute commands,
 * and executes what reaches it.
 *
 * What became of a command when the connection broke is never guessed, and
 * nothing is sent twice: a command that may have been sent is `lost`, one that
 * was not is `undelivered`.
 */
import type { Scope } from "effect"
import {
  Cause,
  Context,
  Duration,
  Effect,
  FiberMap,
  FiberSet,
  Layer,
  Option,
  Queue,
  Schema,
  Stream,
  SubscriptionRef
} from "effect"
import type { Socket } from "effect/socket"
import * as Json from "../protocol/Json.ts"
import { ClientMessage, type ExecutorStatus, type ServerMessage, type Status } from "../protocol/Message.ts"
import * as Link from "./Link.ts"
import { type Listed, listed } from "./Watched.ts"

/** How a command ended at one target. */
export interface Outcome {
  /** The target's rank when the command was routed; none where the connection broke before it was known. */
  readonly rank?: number
  readonly status: Status
  readonly output?: string
  readonly truncated?: boolean
}

/** A command that reached this client. */
export interface Order {
  /** The issuer's rank. */
  readonly from: number
  readonly command: string
  readonly epoch: number | undefined
  /** Tells partial output to the issuer, where it asked for the outcome. */
  readonly output: (text: string) => Effect.Effect<void>
}

/** No target of a command ended with exit code 0. */
export class NoneSucceeded extends Schema.TaggedError<NoneSucceeded>()("NoneSucceeded", {
  outcomes: Schema.Array(Schema.Any)
}) {
  override get message() {
    return `none of ${this.outcomes.length} targets succeeded`
  }
}

export interface ExecOptions {
  /** How long it may take; the server has a default and a maximum. */
  readonly timeout?: Duration.Input
  /** Only if the order is still of this epoch. */
  readonly epoch?: number
  /** Only if this member stands there, and alone. */
  readonly member?: string
  /** Called with partial output as it comes. Otherwise it is part of the outcome's. */
  readonly onOutput?: (rank: number, text: string) => void
}

const decodeExec = Schema.decodeUnknownEffect(ClientMessage)

interface Open {
  readonly several: boolean
  readonly outcomes: Queue.Queue<Outcome, Link.Rejected | Cause.Done>
  readonly onOutput: ExecOptions["onOutput"]
  /** What came of output before the outcomes, by rank. */
  readonly outputs: Map<number, string>
}

/** Characters of partial output that are kept for one outcome. */
const MAX_OUTPUT = 1024 * 1024

/** The outcome with the output that came before it. */
const whole = (outcome: Outcome, before: string | undefined): Outcome => {
  if (before === undefined) return outcome
  const output = before + (outcome.output ?? "")
  const cut = output.length > MAX_OUTPUT
  return { ...outcome, output: cut ? output.slice(0, MAX_OUTPUT) : output, ...(cut ? { truncated: true } : {}) }
}

/** What of a line is not its text, at most. */
const FRAME_BYTES = 256

/** A UTF-16 code unit has three bytes in UTF-8, but six where JSON escapes it. */
const ESCAPED_BYTES = 6

export class RankClient extends Context.Service<
  RankClient,
  {
    /** Where it stands now; undefined while it is not connected. */
    readonly standing: SubscriptionRef.SubscriptionRef<Link.Standing | undefined>
    /** Why the server did not admit it when it last asked, as `name taken`; undefined where it did, or did not answer. */
    readonly refused: SubscriptionRef.SubscriptionRef<Link.Rejected | undefined>
    /** The outcome at one target. Interrupting it withdraws the command. */
    readonly exec: (to: string, command: string, options?: ExecOptions) => Effect.Effect<Outcome, Link.Rejected>
    /** The outcomes at all targets, as they come. It ends with the last; ending it sooner withdraws the command. */
    readonly execAll: (to: string, command: string, options?: ExecOptions) => Stream.Stream<Outcome, Link.Rejected>
    /** The first outcome with exit code 0; the others are withdrawn. */
    readonly execFirst: (
      to: string,
      command: string,
      options?: ExecOptions
    ) => Effect.Effect<Outcome, Link.Rejected | NoneSucceeded>
    /** The members of the group, now and whenever they change; empty while it is not connected. */
    readonly roster: Stream.Stream<ReadonlyArray<Listed>>
    /**
     * Executes what reaches this client from now on, until the scope closes. A
     * withdrawn command interrupts the handler.
     */
    readonly handle: <R>(
      handler: (order: Order) => Effect.Effect<Ended, never, R>
    ) => Effect.Effect<void, never, R | Scope.Scope>
  }
>()("rankd/client/RankClient") {
  static readonly layer = (options: ClientOptions = {}): Layer.Layer<RankClient, never, Socket.Socket> =>
    Layer.effect(RankClient, make(options))
}

/** How an order ended. Output of any length is passed on, in as many lines as it takes. */
export interface Ended {
  readonly status: ExecutorStatus
  readonly output?: string
  /** Whether there was more output than is told. */
  readonly truncated?: boolean
}

export type Handler = (order: Order) => Effect.Effect<Ended>

export interface ClientOptions extends Link.Identity {
  /** Executes what reaches this client from the first moment on, unless `handle` does; without it that is `denied`. */
  readonly handler?: Handler
}

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

const make = Effect.fnUntraced(function* ({ handler: first, ...identity }: ClientOptions) {
  const link = yield* Link.make(identity)
  const { say, standing } = link
  const members = yield* SubscriptionRef.make<ReadonlyArray<Listed>>([])
  const open = new Map<string, Open>()
  /** The tracked commands that are executed here, by the server's ids. */
  const tracked = yield* FiberMap.make<string>()
  const untracked = yield* FiberSet.make()
  let handler = first ?? (() => Effect.succeed<Ended>({ status: "denied" }))
  let lastId = 0
  let watchers = 0
  /** Whether `members` is what the server last listed: what it still tells of an earlier watch is not for the next. */
  let following = false

  const forget = Effect.suspend(() => {
    following = false
    return SubscriptionRef.set(members, [])
  })

  const finish = (id: string, error?: Link.Rejected) => {
    const command = open.get(id)
    open.delete(id)
    if (command === undefined) return
    if (error === undefined) Queue.endUnsafe(command.outcomes)
    else Queue.failCauseUnsafe(command.outcomes, Cause.fail(error))
  }

  const execute = ({ command, epoch, from, id }: ServerMessage & { _tag: "Exec" }) => {
    const connection = link.connection()
    // The server has ended what a broken connection was to execute: a new one knows nothing of it.
    const answer = (message: ClientMessage) => (link.connection() === connection ? say(message) : Effect.void)
    /** Says all of a text but the last piece, which it succeeds with. */
    const outputs = Effect.fnUntraced(function* (id: string, text: string) {
      const parts = pieces(text.toWellFormed(), link.maxLine())
      for (let part = parts.next(); ; part = parts.next()) {
        if (part.done) return part.value
        yield* answer({ _tag: "Output", id, text: part.value })
      }
    })
    const output = (text: string) =>
      id === undefined || text === ""
        ? Effect.void
        : Effect.flatMap(outputs(id, text), (text) => answer({ _tag: "Output", id, text }))
    const run: Effect.Effect<Ended> = Effect.catchCause(
      Effect.suspend(() => handler({ from, command, epoch, output })),
      (cause) =>
        Cause.hasInterruptsOnly(cause)
          ? Effect.failCause(cause as Cause.Cause<never>)
          : Effect.as(Effect.logError(cause), { status: "failed" as const })
    )
    if (id === undefined) return Effect.asVoid(FiberSet.run(untracked, run))
    const answered = Effect.gen(function* () {
      const { output, ...result } = yield* run
      const rest = output === undefined ? {} : { output: yield* outputs(id, output) }
      yield* answer({ _tag: "Result", id, ...result, ...rest })
    })
    return Effect.asVoid(FiberMap.run(tracked, id, answered))
  }

  const heard = Effect.fnUntraced(function* (message: ServerMessage) {
    switch (message._tag) {
      case "Welcome":
        if (watchers > 0) yield* say({ _tag: "Watch" })
        break
      case "Exec":
        yield* execute(message)
        break
      case "Cancel":
        // It may take its time to end, and what comes next is not to wait for it.
        Option.getOrUndefined(FiberMap.getUnsafe(tracked, message.id))?.interruptUnsafe()
        break
      case "Output": {
        const { id, rank, text } = message
        const command = open.get(id)
        if (command?.onOutput !== undefined) command.onOutput(rank, text)
        else command?.outputs.set(rank, (command.outputs.get(rank) ?? "").concat(text).slice(0, MAX_OUTPUT + 1))
        break
      }
      case "Result": {
        const { _tag, id, ...outcome } = message
        const command = open.get(id)
        if (command === undefined) break
        Queue.offerUnsafe(command.outcomes, whole(outcome, command.outputs.get(message.rank)))
        command.outputs.delete(message.rank)
        if (!command.several) finish(id)
        break
      }
      case "Done":
        finish(message.id)
        break
      case "Error":
        if (message.id !== undefined) finish(message.id, Link.rejected(message))
        else yield* Effect.annotateLogs(Effect.logWarning("the server rejected a line"), { ...message })
        break
      default:
        following ||= message._tag === "Roster"
        if (following) yield* SubscriptionRef.update(members, (before) => listed(before, message))
    }
  })

  const broken = Effect.suspend(() => {
    for (const [id, { outcomes }] of open) {
      Queue.offerUnsafe(outcomes, { status: "lost" })
      finish(id)
    }
    return forget
  })

  yield* Effect.forkScoped(link.run({ heard, broken }))

  /** The outcomes of a command; closing the scope withdraws it, if it has not ended. */
  const issue = Effect.fnUntraced(function* (to: string, command: string, options: ExecOptions = {}) {
    const { epoch, member, onOutput, timeout } = options
    const id = `c${++lastId}`
    const outcomes = yield* Queue.unbounded<Outcome, Link.Rejected | Cause.Done>()
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
      ({ message }) => new Link.Rejected({ reason: "malformed", detail: message })
    )
    if (Buffer.byteLength(Json.writeClient(message)) >= link.maxLine()) {
      return yield* new Link.Rejected({ reason: "line too long", detail: `at most ${link.maxLine()} bytes` })
    }
    if (SubscriptionRef.getUnsafe(standing) === undefined) {
      Queue.offerUnsafe(outcomes, { status: "undelivered" })
      Queue.endUnsafe(outcomes)
      return outcomes
    }
    yield* Effect.acquireRelease(
      Effect.sync(() =>
        open.set(id, { several: /^(?:\*|[0-9]+-[0-9]+)$/.test(to), outcomes, onOutput, outputs: new Map() })
      ),
      () => Effect.suspend(() => (open.delete(id) ? say({ _tag: "Cancel", id }) : Effect.void))
    )
    // Where this fails the connection has broken, and its end tells what became of the command.
    yield* say(message)
    return outcomes
  })

  const execAll: RankClient["Service"]["execAll"] = (to, command, options) =>
    Stream.unwrap(Effect.map(issue(to, command, options), Stream.fromQueue))

  return RankClient.of({
    standing,
    refused: link.refused,
    execAll,
    exec: (to, command, options) =>
      Effect.flatMap(Stream.runHead(execAll(to, command, options)), (first) =>
        // A command to one target has one outcome.
        Effect.succeed(Option.getOrElse(first, (): Outcome => ({ status: "lost" })))
      ),
    execFirst: Effect.fnUntraced(function* (to, command, options) {
      const outcomes: Array<Outcome> = []
      const first = yield* execAll(to, command, options).pipe(
        Stream.tap((outcome) => Effect.sync(() => outcomes.push(outcome))),
        Stream.filter(({ status }) => status === 0),
        Stream.runHead
      )
      return Option.isSome(first) ? first.value : yield* new NoneSucceeded({ outcomes })
    }),
    roster: Stream.unwrap(
      Effect.as(
        Effect.acquireRelease(
          Effect.suspend(() => (watchers++ === 0 ? say({ _tag: "Watch" }) : Effect.void)),
          () =>
            Effect.suspend(() => (--watchers === 0 ? Effect.andThen(say({ _tag: "Unwatch" }), forget) : Effect.void))
        ),
        SubscriptionRef.changes(members)
      )
    ),
    handle: Effect.fnUntraced(function* <R>(next: (order: Order) => Effect.Effect<Ended, never, R>) {
      const context = yield* Effect.context<R>()
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          const before = handler
          handler = (order) => Effect.provideContext(next(order), context)
          return before
        }),
        (before) =>
          Effect.sync(() => {
            handler = before
          })
      )
    })
  })
})
