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
import { Cause, Context, Duration, Effect, Latch, Layer, Option, Queue, Schema, Stream, SubscriptionRef } from "effect"
import type { Socket } from "effect/socket"
import { Whole } from "../protocol/Ids.ts"
import { jsonCodec } from "../protocol/json/JsonCodec.ts"
import { ClientMessage, Output, type ServerMessage, Status } from "../protocol/Messages.ts"
import * as Link from "./Connection.ts"
import * as Executor from "./Executor.ts"
import { type Listed, listed } from "./memberList.ts"

/**
 * How a command ended at one target. `rank` is the target's when the command was
 * routed; it is missing where the connection broke: that one outcome is then of all
 * the targets that had not ended. `output` has at most a million characters.
 */
export const Outcome = Schema.Struct({
  rank: Schema.optionalKey(Whole),
  status: Status,
  output: Schema.optionalKey(Output),
  /** Whether there was more output. */
  truncated: Schema.optionalKey(Schema.Boolean)
})
export type Outcome = typeof Outcome.Type

/** No target of a command ended with exit code 0. */
export class NoneSucceeded extends Schema.TaggedError<NoneSucceeded>()("NoneSucceeded", {
  outcomes: Schema.Array(Outcome)
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

/** Whether a command to it has several outcomes. */
const several = (to: string) => /^(?:\*|[0-9]+-[0-9]+)$/.test(to)

const decodeExec = Schema.decodeUnknownEffect(ClientMessage)

interface Open {
  readonly several: boolean
  readonly outcomes: Queue.Queue<Outcome, Link.Rejected | Cause.Done>
  readonly onOutput: ExecOptions["onOutput"]
  /** What came of output before the outcomes, by rank. */
  readonly outputs: Map<number, string>
  /** Whether the socket has it: the server may have it, too. */
  handed: boolean
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

/** How long a command waits for the first connection. */
const BEGINNING = Duration.seconds(5)

/** How long what `beforeLeaving` runs may hold up the end of the connection. */
const LEAVING = Duration.seconds(10)

/** A list that nobody is on. */
const NOBODY: ReadonlyArray<Listed> = []

export class RankClient extends Context.Service<
  RankClient,
  {
    /** Where it stands now; undefined while it is not connected. */
    readonly standing: SubscriptionRef.SubscriptionRef<Link.Standing | undefined>
    /** Why the server did not admit it when it last asked, as `name taken`; undefined where it did, or did not answer. */
    readonly refused: SubscriptionRef.SubscriptionRef<Link.Rejected | undefined>
    /** Why the last connection was not made, or broke; undefined until one did. Being admitted does not undo it. */
    readonly failure: Link.Link["failure"]
    /**
     * The outcome at one target. Interrupting it withdraws the command. Before the
     * client was admitted for the first time it waits for that, 5 seconds at most;
     * later it is `undelivered` where there is no connection.
     */
    readonly exec: (to: string, command: string, options?: ExecOptions) => Effect.Effect<Outcome, Link.Rejected>
    /** The outcomes at all targets, as they come. It ends with the last; ending it sooner withdraws the command. */
    readonly execAll: (to: string, command: string, options?: ExecOptions) => Stream.Stream<Outcome, Link.Rejected>
    /** The first outcome with exit code 0; the others are withdrawn. */
    readonly execFirst: (
      to: string,
      command: string,
      options?: ExecOptions
    ) => Effect.Effect<Outcome, Link.Rejected | NoneSucceeded>
    /**
     * The members of the group, in the order of their ranks, now and whenever they
     * change; empty while it is not connected. The server tells no address of those
     * who join later.
     */
    readonly roster: Stream.Stream<ReadonlyArray<Listed>>
    /**
     * Executes what reaches this client from now on, until the scope closes; the
     * last handler that there is gets it. A withdrawn command interrupts the handler;
     * a connection that breaks does not, but nobody is told its outcome.
     */
    readonly handle: <R>(
      handler: (order: Executor.Order) => Effect.Effect<Executor.Ended, never, R>
    ) => Effect.Effect<void, never, R | Scope.Scope>
    /**
     * Runs the effect before this client leaves by itself, for the layer's scope
     * closes; its rank is the next member's only after that, or after 10 seconds.
     */
    readonly beforeLeaving: (effect: Effect.Effect<void>) => Effect.Effect<void, never, Scope.Scope>
  }
>()("rankd/client/RankClient") {
  /** Fails where the name or the group is none: `malformed`. */
  static readonly layer = (options: ClientOptions = {}): Layer.Layer<RankClient, Link.Rejected, Socket.Socket> =>
    Layer.effect(RankClient, make(options))
}

export interface ClientOptions extends Link.LinkOptions {
  /** Executes what reaches this client while `handle` does not, from the first moment on; by default it is `denied`. */
  readonly handler?: Executor.Handler
}

const make = Effect.fnUntraced(function* ({ handler, ...options }: ClientOptions) {
  const link = yield* Link.make(options)
  const { say, standing, tell } = link
  const executor = yield* Executor.make(link, handler ?? (() => Effect.succeed({ status: "denied" })))
  /** Undefined while it is not known: the server tells it once it is asked. */
  const members = yield* SubscriptionRef.make<ReadonlyArray<Listed> | undefined>(NOBODY)
  const open = new Map<string, Open>()
  const leaving = new Set<Effect.Effect<void>>()
  /** Open once it has been admitted for the first time. */
  const begun = yield* Latch.make()
  let lastId = 0
  let watchers = 0

  const finish = (id: string, error?: Link.Rejected) => {
    const command = open.get(id)
    open.delete(id)
    if (command === undefined) return
    if (error === undefined) Queue.endUnsafe(command.outcomes)
    else Queue.failCauseUnsafe(command.outcomes, Cause.fail(error))
  }

  const watch = Effect.suspend(() => {
    tell({ _tag: "Watch" })
    return SubscriptionRef.set(members, undefined)
  })

  const heard = Effect.fnUntraced(function* (message: ServerMessage) {
    switch (message._tag) {
      case "Welcome":
        begun.openUnsafe()
        if (watchers > 0) yield* watch
        break
      case "Exec":
        // Where it is not yet in its group, it is not this client's to execute.
        if (SubscriptionRef.getUnsafe(standing) !== undefined || (options.group ?? "default") === "default") {
          executor.execute(message)
        } else if (message.id !== undefined) tell({ _tag: "Result", id: message.id, status: "denied" })
        break
      case "Cancel":
        executor.cancel(message.id)
        break
      case "Output": {
        const { id, rank, text } = message
        const command = open.get(id)
        if (command === undefined) break
        const { onOutput, outputs } = command
        if (onOutput === undefined) outputs.set(rank, (outputs.get(rank) ?? "").concat(text).slice(0, MAX_OUTPUT + 1))
        else {
          yield* Effect.catchDefect(
            Effect.sync(() => onOutput(rank, text)),
            (defect) => Effect.logError("onOutput failed", defect)
          )
        }
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
        // A command that was withdrawn had just ended.
        else if (message.reason !== "no such command") {
          yield* Effect.annotateLogs(Effect.logWarning("the server rejected a line"), { ...message })
        }
        break
      case "Roster":
        if (watchers > 0) yield* SubscriptionRef.set(members, message.members)
        break
      default:
        // What is still told of an earlier watch is not of this list.
        yield* SubscriptionRef.update(members, (before) => before && listed(before, message))
    }
  })

  const broken = Effect.suspend(() => {
    executor.broken()
    for (const [id, { handed, outcomes }] of open) {
      Queue.offerUnsafe(outcomes, { status: handed ? "lost" : "undelivered" })
      finish(id)
    }
    return SubscriptionRef.set(members, NOBODY)
  })

  yield* Effect.forkScoped(link.run({ heard, broken }))
  yield* Effect.addFinalizer(() =>
    Effect.timeoutOption(Effect.all(leaving, { concurrency: "unbounded", discard: true }), LEAVING)
  )

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
    if (Buffer.byteLength(jsonCodec.encodeClient(message)) >= link.maxLine()) {
      return yield* new Link.Rejected({ reason: "line too long", detail: `at most ${link.maxLine()} bytes` })
    }
    yield* Effect.timeoutOption(begun.await, BEGINNING)
    if (SubscriptionRef.getUnsafe(standing) === undefined) {
      Queue.offerUnsafe(outcomes, { status: "undelivered" })
      Queue.endUnsafe(outcomes)
      return outcomes
    }
    const entry: Open = { several: several(to), outcomes, onOutput, outputs: new Map(), handed: false }
    yield* Effect.acquireRelease(
      Effect.sync(() => open.set(id, entry)),
      () =>
        Effect.sync(() => {
          if (open.delete(id)) tell({ _tag: "Cancel", id })
        })
    )
    yield* say(message, () => {
      entry.handed = true
    })
    return outcomes
  })

  const execAll: RankClient["Service"]["execAll"] = (to, command, options) =>
    Stream.unwrap(Effect.map(issue(to, command, options), Stream.fromQueue))

  return RankClient.of({
    standing,
    refused: link.refused,
    failure: link.failure,
    execAll,
    exec: Effect.fnUntraced(function* (to, command, options) {
      if (several(to)) {
        return yield* new Link.Rejected({
          reason: "malformed",
          detail: `${to} is for several: use execAll or execFirst`
        })
      }
      // A command to one target has one outcome.
      return Option.getOrThrow(yield* Stream.runHead(execAll(to, command, options)))
    }),
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
          Effect.suspend(() =>
            watchers++ === 0 && SubscriptionRef.getUnsafe(standing) !== undefined ? watch : Effect.void
          ),
          () =>
            Effect.suspend(() => {
              if (--watchers > 0) return Effect.void
              tell({ _tag: "Unwatch" })
              return SubscriptionRef.update(members, (known) => (known === NOBODY ? known : undefined))
            })
        ),
        SubscriptionRef.changes(members).pipe(
          Stream.filter((members) => members !== undefined),
          Stream.changesWith((before, after) => before === after)
        )
      )
    ),
    beforeLeaving: (effect) =>
      Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => leaving.add(effect)),
          () => Effect.sync(() => leaving.delete(effect))
        )
      ),
    handle: Effect.fnUntraced(function* <R>(next: (order: Executor.Order) => Effect.Effect<Executor.Ended, never, R>) {
      const context = yield* Effect.context<R>()
      yield* executor.handle((order) => Effect.provideContext(next(order), context))
    })
  })
})
