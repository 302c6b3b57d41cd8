/**
 * The life of one client: the server admits it, executes its lines, and gives up its seat.
 * Invariant: leaving is the finalizer of the fiber, so whatever ends a session, the members
 * behind it move up. A session uses an `effect/socket` `Socket`, so that tests need no network.
 */
import { Cause, Duration, Effect, Exit, Result } from "effect"
import { Socket } from "effect/socket"
import { type Transport, TransportOf } from "../../net/Transport.ts"
import { memberIdOf } from "../../protocol/Ids.ts"
import * as Roster from "../../rank/Roster.ts"
import { nameOf } from "../admission/CertificateName.ts"
import { abandonDeliveries } from "../commands/Command.ts"
import type { CloseCause } from "../events/CloseCause.ts"
import { deadlineIn } from "../time.ts"
import { ClientSession, type Closing } from "./ClientSession.ts"
import { closingOf, isOtherProtocol, isRefusal, isSlowConsumer, refusalReasonOf } from "./closings.ts"
import { closeInOrder, type Pull } from "./OrderlyClose.ts"
import { Reader } from "./Reader.ts"
import type { ServerContext } from "./ServerContext.ts"
import { authenticated, seatOnArrival } from "./seating.ts"

/** The most clients without a seat in an orderly close at the same time. Beyond it, connections are cut. */
const MAX_LINGERING = 64

/** Serves the client on this socket until its session has ended and its connection is closed. */
export const run = (context: ServerContext, socket: Socket.Socket): Effect.Effect<void> =>
  // A generator around the whole life would stay in memory with it.
  open(context, socket).pipe(
    Effect.flatMap(({ pull, session }) =>
      Effect.onExit(
        Effect.andThen(arrive(session), () => Effect.catchIf(read(session, pull), isEndOfInput, () => finish(session))),
        (exit) => {
          const cause = causeOf(exit, context)
          const isDefect = cause === "internal error" && Exit.isFailure(exit)
          session.close(cause, isDefect ? `${Cause.squash(exit.cause)}` : undefined)
          return Effect.ensuring(leave(session, pull), forget(session))
        }
      )
    ),
    Effect.scoped,
    Effect.ignore
  )

const open = Effect.fnUntraced(function* (context: ServerContext, socket: Socket.Socket) {
  const pull = yield* Socket.readerBytes(socket)
  const transport = yield* (yield* TransportOf)(socket)
  return { pull, session: new ClientSession(context, transport, yield* Effect.fiber) }
})

/** Checks a new connection, and gives it a seat if the client needs no token and need not ask. */
const arrive = Effect.fnUntraced(function* (session: ClientSession): Effect.fn.Return<void> {
  const { context, transport } = session
  const { authenticator, events, limits, now, phase, sessions, settings } = context
  sessions.add(session)
  events.opened(session.address)
  const excess = limits.opened(session.address)
  if (phase !== "serving") return session.close("server shutting down")
  const name = certificateName(transport)
  if (Result.isFailure(name)) return session.close("no name in the certificate", name.failure)
  if (excess !== undefined) return session.close(excess)
  const bearer = authenticator.greet(session, name.success)
  if (bearer === undefined) {
    return session.enter({ _tag: "Unauthenticated", deadline: now() + Duration.toMillis(settings.authTimeout) })
  }
  authenticated(session, bearer)
  const step = yield* seatOnArrival(session)
  if (step?._tag === "Close") session.close(step.cause)
  // Clients that connect at the same moment get their ranks together: a second write right after the first costs less.
  yield* Effect.yieldNow
})

const certificateName = ({ certificate }: Transport): Result.Result<string | undefined, string> =>
  certificate === undefined ? Result.succeed(undefined) : nameOf(certificate)

/** Executes the client's lines until something ends the session. */
const read = Effect.fnUntraced(function* (
  session: ClientSession,
  pull: Pull
): Effect.fn.Return<void, Socket.SocketError> {
  const reader = new Reader(session)
  const { flushQueue } = session.context.outboxes
  while (session.state._tag !== "Closing") {
    flushQueue.flush()
    for (const chunk of yield* inTime(session, pull)) {
      reader.push(chunk)
      for (let effect = reader.advance(); effect !== undefined; effect = reader.advance()) {
        flushQueue.flush()
        yield* effect
      }
    }
  }
})

/** The next bytes, if they come before the session's deadline. */
const inTime = (session: ClientSession, pull: Pull): Effect.Effect<ReadonlyArray<Uint8Array>, Socket.SocketError> => {
  const { context, deadline } = session
  if (deadline === undefined) return pull
  const late = Effect.sync(() => {
    const { state } = session
    session.close((state._tag === "AwaitingSeat" && state.limit?.cause) || "no token in time")
    return []
  })
  return Effect.raceFirst(pull, Effect.andThen(deadlineIn(deadline - context.now()), late))
}

/** The client has ended its side: it gives up its seat now, and its connection after the outcomes of its open commands. */
const finish = (session: ClientSession): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { context, outbox } = session
    const issuer = session.halfClose()
    if (issuer === undefined) return Effect.void
    context.liveness.forget(session)
    return Effect.uninterruptible(leaveSeat(session)).pipe(
      Effect.andThen(Effect.raceFirst(context.commands.settled(issuer), outbox.closed))
    )
  }).pipe(Effect.andThen(Effect.sync(() => session.close("closed"))))

/** Gives up the client's seat or reserves it; then closes the connection. */
const leave = Effect.fnUntraced(function* (session: ClientSession, pull: Pull): Effect.fn.Return<void> {
  const { context, outbox, state, transport } = session
  if (state._tag !== "Closing") return
  const { cause, detail } = state
  const { events, liveness, outboxes, sessions, settings } = context
  if (isSlowConsumer(cause)) events.slowConsumer(session.address, session.member || undefined, cause)
  if (isOtherProtocol(cause)) events.otherProtocol(session.address, session.member || undefined, cause)
  if (isRefusal(cause)) events.refused(session.address, cause, refusalReasonOf(cause), detail)
  yield* leaveSeat(session)
  sessions.delete(session)
  liveness.forget(session)
  session.orphanCommands()
  outboxes.flushQueue.flush()
  const closing = closeInOrder(transport, outbox, pull, lastWordsOf(session, state), settings.linger)
  if (isOtherProtocol(cause)) return transport.cut()
  if (session.member !== "") return yield* closing
  if (context.lingering >= MAX_LINGERING) return transport.cut()
  context.lingering++
  return yield* Effect.ensuring(
    closing,
    Effect.sync(() => {
      context.lingering--
    })
  )
})

const leaveSeat = Effect.fnUntraced(function* (session: ClientSession): Effect.fn.Return<void> {
  const { context, state } = session
  const seat = session.releaseSeat()
  if (seat === undefined) return
  const cause = state._tag === "Closing" ? state.cause : "closed"
  const { group, member } = seat
  const name = Roster.byId(group.ranks.snapshot(), member.id)?.name
  const reserved = yield* context.reservations.leave(session, seat, closingOf(cause).reason)
  if (reserved) context.events.lost(memberIdOf(member.id), name, group.name, session.address, cause)
})

const lastWordsOf = ({ codec }: ClientSession, { cause, was }: Closing): string | undefined => {
  const { lastWords } = closingOf(cause)
  if (lastWords === undefined) return undefined
  const ranked = lastWords._tag === "Error" && was._tag === "Seated" ? { ...lastWords, rank: was.rank } : lastWords
  return codec.encodeServer(ranked)
}

/** Forgets the client. It also gives up the seat if `leave` failed: otherwise the seat would be taken for ever. */
const forget = (session: ClientSession): Effect.Effect<void> =>
  Effect.map(leaveSeat(session), () => {
    const { authenticator, events, limits, sessions } = session.context
    sessions.delete(session)
    limits.closed(session.address)
    authenticator.forget(session)
    const { state } = session
    if (state._tag === "Closing") events.closed(session.address, state.cause, state.detail)
    else events.closed(session.address, "internal error")
  })

/** Stops the server: open commands have `drain` to end, then all clients are disconnected. Succeeds when all sessions have ended. */
export const stopAll = (context: ServerContext): Effect.Effect<void> =>
  Effect.suspend(() => {
    context.phase = "draining"
    return Effect.andThen(Effect.timeoutOption(context.commands.idle, context.settings.drain), disconnectAll(context))
  })

const disconnectAll = (context: ServerContext): Effect.Effect<void> =>
  Effect.suspend(() => {
    context.phase = "stopping"
    const sessions = [...context.sessions]
    // Issuers get the outcomes of their commands before their `BYE`.
    for (const session of sessions) abandonDeliveries(session)
    for (const session of sessions) session.disconnect("shutting down")
    const ended = Effect.forEach(sessions, ({ ended }) => ended, { discard: true })
    return Effect.andThen(ended, context.reservations.close)
  })

/** The cause for a session that ended by itself: its connection ended, it failed, or the server stopped. */
const causeOf = (exit: Exit.Exit<unknown, Socket.SocketError>, { phase }: ServerContext): CloseCause => {
  if (Exit.isSuccess(exit) || Cause.hasDies(exit.cause)) return "internal error"
  if (!Cause.hasInterrupts(exit.cause)) return "reset"
  // Before it stops, the server interrupts nobody without a cause, and it still promotes the next leader.
  return phase === "stopping" ? "shutting down" : "internal error"
}

const isEndOfInput = ({ reason }: Socket.SocketError): boolean =>
  reason._tag === "SocketCloseError" && reason.code === 1000
