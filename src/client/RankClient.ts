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
  Random,
  Schema,
  Stream,
  SubscriptionRef
} from "effect"
import { Socket } from "effect/socket"
import * as Json from "../protocol/Json.ts"
import { Lines, Next } from "../protocol/Lines.ts"
import { ClientMessage, type ExecutorStatus, Reason, type ServerMessage, type Status } from "../protocol/Message.ts"
import { type Listed, listed } from "./Watched.ts"

/** Where this client stands. */
export interface Standing {
  readonly member: string
  readonly group: string
  readonly rank: number
  readonly size: number
  readonly epoch: number
}

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

/** The server rejected the command as a whole: nobody has it. */
export class Rejected extends Schema.TaggedError<Rejected>()("Rejected", {
  reason: Reason,
  detail: Schema.optionalKey(Schema.String)
}) {
  override get message() {
    return this.detail === undefined ? this.reason : `${this.reason}: ${this.detail}`
  }
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
  /** Called with partial output. */
  readonly onOutput?: (rank: number, text: string) => void
}

export interface ClientOptions {
  readonly name?: string
  readonly group?: string
}

/** A line of the server's own may hold a whole roster. */
const MAX_LINE_BYTES = 64 * 1024 * 1024

/** The first and the longest wait before it is tried to connect again; each is up to half shorter, by chance. */
const FIRST_WAIT = Duration.millis(100)
const LONGEST_WAIT = Duration.seconds(5)

/** The version of the protocol that is spoken. */
const PROTOCOL = 1

const OPEN_BRACE = 0x7b

const utf8 = new TextDecoder()

const decodeExec = Schema.decodeUnknownEffect(ClientMessage)

/** Writes to the connection that there is now. */
type Say = (message: ClientMessage) => Effect.Effect<void, Socket.SocketError>

interface Open {
  readonly several: boolean
  readonly outcomes: Queue.Queue<Outcome, Rejected | Cause.Done>
  readonly onOutput: ExecOptions["onOutput"]
}

export class RankClient extends Context.Service<
  RankClient,
  {
    /** Where it stands now; undefined while it is not connected. */
    readonly standing: SubscriptionRef.SubscriptionRef<Standing | undefined>
    /** The outcome at one target. Interrupting it withdraws the command. */
    readonly exec: (to: string, command: string, options?: ExecOptions) => Effect.Effect<Outcome, Rejected>
    /** The outcomes at all targets, as they come. It ends with the last; ending it sooner withdraws the command. */
    readonly execAll: (to: string, command: string, options?: ExecOptions) => Stream.Stream<Outcome, Rejected>
    /** The first outcome with exit code 0; the others are withdrawn. */
    readonly execFirst: (
      to: string,
      command: string,
      options?: ExecOptions
    ) => Effect.Effect<Outcome, Rejected | NoneSucceeded>
    /** The members of the group, now and whenever they change; empty while it is not connected. */
    readonly roster: Stream.Stream<ReadonlyArray<Listed>>
    /**
     * Executes what reaches this client, until the scope closes; without a handler
     * it is `denied`. A withdrawn command interrupts the handler.
     */
    readonly handle: <R>(
      handler: (order: Order) => Effect.Effect<{ readonly status: ExecutorStatus; readonly output?: string }, never, R>
    ) => Effect.Effect<void, never, R | Scope.Scope>
  }
>()("rankd/client/RankClient") {
  static readonly layer = (options: ClientOptions = {}): Layer.Layer<RankClient, never, Socket.Socket> =>
    Layer.effect(RankClient, make(options))
}

type Handler = (order: Order) => Effect.Effect<{ readonly status: ExecutorStatus; readonly output?: string }>

const make = Effect.fnUntraced(function* (options: ClientOptions) {
  const socket = yield* Socket.Socket
  const standing = yield* SubscriptionRef.make<Standing | undefined>(undefined)
  const members = yield* SubscriptionRef.make<ReadonlyArray<Listed>>([])
  const open = new Map<string, Open>()
  /** The tracked commands that are executed here, by the server's ids. */
  const tracked = yield* FiberMap.make<string>()
  const untracked = yield* FiberSet.make()
  let handler: Handler = () => Effect.succeed({ status: "denied" })
  let say: Say | undefined
  let lastId = 0
  let watchers = 0
  /** Whether `members` is what the server last listed: what it still tells of an earlier watch is not for the next. */
  let following = false
  let failures = 0

  /** Says it where there is a connection; what cannot be said any more, nobody waits for. */
  const tell = (message: ClientMessage) => Effect.suspend(() => Effect.ignore(say?.(message) ?? Effect.void))

  const forget = Effect.suspend(() => {
    following = false
    return SubscriptionRef.set(members, [])
  })

  const finish = (id: string, error?: Rejected) => {
    const command = open.get(id)
    open.delete(id)
    if (command === undefined) return
    if (error === undefined) Queue.endUnsafe(command.outcomes)
    else Queue.failCauseUnsafe(command.outcomes, Cause.fail(error))
  }

  const execute = ({ command, epoch, from, id }: ServerMessage & { _tag: "Exec" }) => {
    const output = (text: string) =>
      id === undefined || text === "" ? Effect.void : tell({ _tag: "Output", id, text })
    const run = Effect.catchCause(
      Effect.suspend(() => handler({ from, command, epoch, output })),
      (cause) =>
        Cause.hasInterruptsOnly(cause)
          ? Effect.failCause(cause as Cause.Cause<never>)
          : Effect.as(Effect.logError(cause), { status: "failed" as const })
    )
    if (id === undefined) return Effect.asVoid(FiberSet.run(untracked, run))
    const answering = say
    const answer = Effect.flatMap(run, (result) =>
      // The server has ended what a broken connection was to execute: a new one knows nothing of it.
      say === answering ? tell({ _tag: "Result", id, ...result }) : Effect.void
    )
    return Effect.asVoid(FiberMap.run(tracked, id, answer))
  }

  const heard = Effect.fnUntraced(function* (message: ServerMessage) {
    switch (message._tag) {
      case "Welcome": {
        failures = 0
        const { epoch, group, member, rank, size } = message
        yield* SubscriptionRef.set(standing, { epoch, group, member, rank, size })
        if (watchers > 0) yield* tell({ _tag: "Watch" })
        break
      }
      case "Rank": {
        const { epoch, member, rank, size } = message
        yield* SubscriptionRef.update(standing, (before) => before && { ...before, epoch, member, rank, size })
        break
      }
      case "Exec":
        yield* execute(message)
        break
      case "Cancel":
        yield* FiberMap.remove(tracked, message.id)
        break
      case "Output":
        open.get(message.id)?.onOutput?.(message.rank, message.text)
        break
      case "Result": {
        const { _tag, id, ...outcome } = message
        const command = open.get(id)
        if (command === undefined) break
        Queue.offerUnsafe(command.outcomes, outcome)
        if (!command.several) finish(id)
        break
      }
      case "Done":
        finish(message.id)
        break
      case "Error": {
        const { detail, id, reason } = message
        if (id !== undefined) finish(id, new Rejected(detail === undefined ? { reason } : { reason, detail }))
        else yield* Effect.annotateLogs(Effect.logWarning("the server rejected a line"), { reason, detail })
        break
      }
      case "Ping":
        yield* tell({ _tag: "Pong" })
        break
      default:
        following ||= message._tag === "Roster"
        if (following) yield* SubscriptionRef.update(members, (before) => listed(before, message))
    }
  })

  /** One connection, from the first line to its end. */
  const session = Effect.gen(function* () {
    const pull = yield* Socket.readerBytes(socket)
    const writer = yield* socket.writer
    say = (message) => writer.write(`${Json.writeClient(message)}\n`)
    const lines = new Lines(MAX_LINE_BYTES)
    yield* say({ _tag: "Hello", protocol: PROTOCOL, ...options })
    while (true) {
      for (const chunk of yield* pull) {
        lines.push(chunk)
        for (let next = lines.next(); next !== Next.More; next = lines.next()) {
          if (next === Next.TooLong) return
          // Before it knows that this client speaks JSON, the server speaks text.
          if (lines.bytes[lines.start] !== OPEN_BRACE) continue
          const line = utf8.decode(lines.bytes.subarray(lines.start, lines.end))
          const message = Json.readServer(line)
          if (message._tag === "Success") yield* heard(message.success)
          else yield* Effect.annotateLogs(Effect.logWarning("not understood"), { line: line.slice(0, 200) })
        }
      }
    }
  }).pipe(
    Effect.scoped,
    Effect.ignore,
    Effect.ensuring(
      Effect.suspend(() => {
        say = undefined
        for (const [id, { outcomes }] of open) {
          Queue.offerUnsafe(outcomes, { status: "lost" })
          finish(id)
        }
        return Effect.andThen(SubscriptionRef.set(standing, undefined), forget)
      })
    )
  )

  const pause = Effect.flatMap(Random.next, (chance) => {
    const wait = Math.min(Duration.toMillis(LONGEST_WAIT), Duration.toMillis(FIRST_WAIT) * 2 ** failures++)
    return Effect.sleep(Duration.millis(wait * (0.5 + chance / 2)))
  })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(session, pause)))

  /** The outcomes of a command; closing the scope withdraws it, if it has not ended. */
  const issue = Effect.fnUntraced(function* (to: string, command: string, options: ExecOptions = {}) {
    const { epoch, member, onOutput, timeout } = options
    const id = `c${++lastId}`
    const outcomes = yield* Queue.unbounded<Outcome, Rejected | Cause.Done>()
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
    if (say === undefined || SubscriptionRef.getUnsafe(standing) === undefined) {
      Queue.offerUnsafe(outcomes, { status: "undelivered" })
      Queue.endUnsafe(outcomes)
      return outcomes
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => open.set(id, { several: /^(?:\*|[0-9]+-[0-9]+)$/.test(to), outcomes, onOutput })),
      () => Effect.suspend(() => (open.delete(id) ? tell({ _tag: "Cancel", id }) : Effect.void))
    )
    // Where this fails the connection has broken, and its end tells what became of the command.
    yield* tell(message)
    return outcomes
  })

  const execAll: RankClient["Service"]["execAll"] = (to, command, options) =>
    Stream.unwrap(Effect.map(issue(to, command, options), Stream.fromQueue))

  return RankClient.of({
    standing,
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
          Effect.suspend(() => (watchers++ === 0 ? tell({ _tag: "Watch" }) : Effect.void)),
          () =>
            Effect.suspend(() => (--watchers === 0 ? Effect.andThen(tell({ _tag: "Unwatch" }), forget) : Effect.void))
        ),
        SubscriptionRef.changes(members)
      )
    ),
    handle: Effect.fnUntraced(function* <R>(
      next: (order: Order) => Effect.Effect<{ status: ExecutorStatus; output?: string }, never, R>
    ) {
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
