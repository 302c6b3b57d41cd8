/**
 * A client of a rankd server for Effect apps, as a service: it connects, and connects again whenever it
 * has to; it issues commands (`Issuer`), executes commands (`Executor`) and follows the members of its group
 * (`Watch`). This module only puts these together: it passes each message of the server to the part it is for.
 *
 * Invariant: nothing is sent twice, and no outcome is guessed. When the connection breaks, a command that
 * may have been sent is `lost`, one that was not is `undelivered`.
 */
import type { Scope, Stream } from "effect"
import { Context, type Duration, Effect, Layer, SubscriptionRef } from "effect"
import type { Socket } from "effect/socket"
import { DEFAULT_GROUP } from "../protocol/Ids.ts"
import type { ServerMessage } from "../protocol/Messages.ts"
import * as Connection from "./Connection.ts"
import * as Executor from "./Executor.ts"
import type { ConnectionOptions } from "./Identity.ts"
import * as Issuer from "./Issuer.ts"
import type { Listed } from "./memberList.ts"
import type { Rejected } from "./Rejected.ts"
import * as Watch from "./Watch.ts"

export interface ClientOptions extends ConnectionOptions {
  /** Executes the commands that reach this client, from the first moment on, while `handle` has no handler; denies all by default. */
  readonly handler?: Executor.Handler
}

/** What `Leader` needs. */
export type Lead = Pick<Connection.Connection, "terms" | "requestLease" | "leaseHeartbeat">

export class RankClient extends Context.Service<
  RankClient,
  {
    /** Where the client stands now; undefined while it is not connected. */
    readonly standing: Connection.Connection["standing"]
    /** Why the server refused to admit the client, such as `name taken`; undefined if it admitted it or did not answer. */
    readonly refused: Connection.Connection["refused"]
    /** Why the last connection broke, or could not be made; undefined until one did. Admission does not clear it. */
    readonly failure: Connection.Connection["failure"]
    /** The limits of the server that admitted the client last; undefined until one did. */
    readonly limits: Connection.Connection["limits"]
    /**
     * Issues a command to one target; succeeds with its outcome. Interruption withdraws the command. Before the
     * first admission it waits up to 5 seconds for it; later, without a connection, the outcome is
     * `undelivered`. Fails with `Rejected`, also if `to` is for several.
     */
    readonly exec: Issuer.Issuer["exec"]
    /**
     * Issues a command to all targets of `to`; streams their outcomes as they come. The stream ends with
     * the last outcome; ending it sooner withdraws the command. Fails with `Rejected`.
     */
    readonly execAll: Issuer.Issuer["execAll"]
    /**
     * Issues a command to all targets of `to`; succeeds with the first outcome with exit code 0 and withdraws
     * the rest. Fails with `NoneSucceeded` if there is none, and with `Rejected`.
     */
    readonly execFirst: Issuer.Issuer["execFirst"]
    /**
     * The members of the group in the order of their ranks, now and after each change; empty while the client
     * is not connected. Members that join later have no `address`.
     */
    readonly roster: Stream.Stream<ReadonlyArray<Listed>>
    /**
     * Executes the commands that reach this client from now on, until the scope closes. The handler that was
     * added last gets them. A withdrawn command interrupts its handler; a broken connection does not,
     * but drops the outcome.
     */
    readonly handle: <R>(
      handler: (command: Executor.IncomingCommand) => Effect.Effect<Executor.Ended, never, R>
    ) => Effect.Effect<void, never, R | Scope.Scope>
    /** When this client may act on its rank, and for how long. `Leader` is made of it. */
    readonly lead: Lead
    /**
     * Runs the effect when the layer's scope closes, before the client disconnects. The next member gets its rank
     * only after that, or after `within`: 10 seconds by default.
     */
    readonly beforeLeaving: (
      effect: Effect.Effect<void>,
      within?: Duration.Input
    ) => Effect.Effect<void, never, Scope.Scope>
  }
>()("rankd/client/RankClient") {
  /** A client over any socket. Fails with `malformed` if an option is none that a server takes. */
  static readonly layer = (options: ClientOptions = {}): Layer.Layer<RankClient, Rejected, Socket.Socket> =>
    Layer.effect(RankClient, make(options))
}

/** How long an effect of `beforeLeaving` may hold up the end of the connection, unless it says so itself. */
const LEAVING_TIMEOUT = "10 seconds"

interface Parts {
  readonly connection: Connection.Connection
  readonly issuer: Issuer.Issuer
  readonly executor: Executor.Executor
  readonly watch: Watch.Watch
}

/** Passes a message of the server to the part it is for. `asked` is the group that the client asks for. */
const dispatch = ({ connection, executor, issuer, watch }: Parts, asked: string, message: ServerMessage) => {
  switch (message._tag) {
    case "Welcome":
      issuer.admitted()
      return watch.admitted
    case "Exec":
      // Before its welcome the client may still be in the default group: other commands than it asks for.
      if (SubscriptionRef.getUnsafe(connection.standing) !== undefined || asked === DEFAULT_GROUP) {
        executor.execute(message)
      } else if (message.id !== undefined) {
        connection.tell({ _tag: "Result", id: message.id, status: "denied" })
      }
      return Effect.void
    case "Cancel":
      executor.cancel(message.id)
      return Effect.void
    case "Output":
      return issuer.pending.output(message)
    case "Result":
      issuer.pending.result(message)
      return Effect.void
    case "Done":
      issuer.pending.done(message)
      return Effect.void
    case "Error":
      if (message.id !== undefined) {
        issuer.pending.rejected(message.id, message)
        return Effect.void
      }
      // A command may end while its withdrawal is under way.
      if (message.reason === "no such command") return Effect.void
      return Effect.annotateLogs(Effect.logWarning("the server rejected a message"), { ...message })
    default:
      return watch.heard(message)
  }
}

const make = Effect.fnUntraced(function* ({ handler, ...options }: ClientOptions) {
  const connection = yield* Connection.make(options)
  const executor = yield* Executor.make(connection, handler ?? (() => Effect.succeed({ status: "denied" })))
  const issuer = yield* Issuer.make(connection)
  const watch = yield* Watch.make(connection)
  const { exec, execAll, execFirst, pending } = issuer
  const parts = { connection, executor, issuer, watch }
  const asked = options.group ?? DEFAULT_GROUP
  const leaving = new Set<Effect.Effect<void>>()

  const broken = Effect.suspend(() => {
    executor.broken()
    pending.broken()
    return watch.broken
  })
  yield* Effect.forkScoped(connection.run({ heard: (message) => dispatch(parts, asked, message), broken }))
  // Registered after the connection, so that it runs before the connection ends.
  yield* Effect.addFinalizer(() => Effect.all(leaving, { concurrency: "unbounded", discard: true }))

  return RankClient.of({
    standing: connection.standing,
    refused: connection.refused,
    failure: connection.failure,
    limits: connection.limits,
    exec,
    execAll,
    execFirst,
    roster: watch.roster,
    lead: connection,
    beforeLeaving: (effect, within = LEAVING_TIMEOUT) => {
      const bounded = Effect.asVoid(Effect.timeoutOption(effect, within))
      return Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => leaving.add(bounded)),
          () => Effect.sync(() => leaving.delete(bounded))
        )
      )
    },
    handle: Effect.fnUntraced(function* <R>(
      next: (command: Executor.IncomingCommand) => Effect.Effect<Executor.Ended, never, R>
    ) {
      const context = yield* Effect.context<R>()
      yield* executor.handle((command) => Effect.provideContext(next(command), context))
    })
  })
})
