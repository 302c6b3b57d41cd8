/**
 * The life of one client: it is admitted, what it says is done (`Conversation`),
 * and it leaves. The session speaks to an `effect/socket` `Socket`, so that it
 * runs without a network.
 */
import { Cause, Duration, Effect, Exit, type Fiber, type Scope } from "effect"
import { Socket } from "effect/socket"
import { type Transport, TransportOf } from "../../net/Transport.ts"
import type { Reason } from "../../protocol/Reasons.ts"
import type { Groups } from "../../rank/Groups.ts"
import type { Gate } from "../admission/Admission.ts"
import type { Places } from "../admission/Reservations.ts"
import type { Commands } from "../commands/Commands.ts"
import type { Group } from "../group/Group.ts"
import type { Router } from "../group/Router.ts"
import { Outbox, type OutboxOptions } from "../outbound/Outbox.ts"
import { Client, type Ending, farewell } from "../Peer.ts"
import type { SettingsValues } from "../Settings.ts"
import type { Liveness } from "./Liveness.ts"
import { Connection } from "./OrderlyClose.ts"
import { Conversation } from "./Reader.ts"

/** What the sessions of a server share. */
export interface Shared {
  readonly settings: SettingsValues
  /** What the server calls itself. */
  readonly server: string
  readonly groups: Groups<Group>
  readonly commands: Commands
  readonly router: Router
  readonly liveness: Liveness
  readonly places: Places
  readonly outboxes: OutboxOptions
  readonly gate: Gate
  /** The clients whose sessions run; the refused ones included. */
  readonly clients: Set<Client>
  /** How many clients that never were members are being closed in order. */
  farewells: number
  /** Whether the server is about to stop: it takes no new client, and no new command. */
  draining: boolean
  /** Whether all clients are being told goodbye: they are not told their ranks any more. */
  stopping: boolean
}

/** Of those that never were members so many at a time are told why, and closed in order; more of them are cut off. */
const MAX_FAREWELLS = 64

class Session {
  readonly shared: Shared
  readonly connection: Connection
  readonly client: Client
  readonly conversation: Conversation
  /** Why it was not taken in the first place. */
  refused: Reason | undefined
  /** Why there was no place for it, unless it has one already. */
  unplaced: Reason | undefined

  constructor(shared: Shared, pull: Connection["pull"], transport: Transport, fiber: Fiber.Fiber<unknown, unknown>) {
    const outbox = new Outbox(shared.outboxes, transport, () => this.client.end(farewell("slow consumer")))
    this.shared = shared
    this.connection = new Connection(pull, outbox, transport)
    this.client = new Client(transport.address, outbox, fiber)
    this.conversation = new Conversation(shared, this.client)
  }

  refuse(reason: Reason, detail?: string): void {
    this.refused = reason
    this.client.ending = {
      reason: "closed",
      lastWords: { _tag: "Error", reason, ...(detail === undefined ? {} : { detail }) }
    }
  }
}

export const run = (shared: Shared, socket: Socket.Socket): Effect.Effect<void> =>
  open(shared, socket).pipe(
    Effect.flatMap((session) =>
      Effect.onExit(
        Effect.andThen(admit(session), () => converse(session)),
        (exit) => end(session, exit)
      )
    ),
    Effect.scoped,
    Effect.ignore
  )

const open = Effect.fnUntraced(function* (shared: Shared, socket: Socket.Socket) {
  const pull = yield* Socket.readerBytes(socket)
  const transport = yield* (yield* TransportOf)(socket)
  return new Session(shared, pull, transport, yield* Effect.fiber)
})

/** Ranks the client, where that is not for it to ask for; then does what it says. */
const admit = Effect.fnUntraced(function* (session: Session): Effect.fn.Return<void, Socket.SocketError, Scope.Scope> {
  const { client, connection, conversation, shared } = session
  shared.clients.add(client)
  const crowded = shared.gate.opened(client)
  if (shared.draining) return session.refuse("shutting down")
  if (connection.transport.unfit !== undefined) return session.refuse("not authorized", "your certificate names nobody")
  if (crowded !== undefined) return session.refuse("server full", crowded)
  if (shared.gate.greet(client, connection.transport.certified)) {
    conversation.letIn()
    if (shared.settings.admission === "connect") {
      const refused = yield* conversation.enter()
      // It may be one of those whose places are held, which it has yet to say.
      if (refused !== undefined && shared.places.any()) session.unplaced = refused
      else if (refused !== undefined) return session.refuse(refused)
      // Others that connect at this moment are told their ranks together with this one: the second write in a row costs less.
      yield* Effect.yieldNow
    }
  }
})

/** Does what the client says, until it, or somebody else, ends the session. */
const converse = Effect.fnUntraced(function* (session: Session): Effect.fn.Return<void, Socket.SocketError> {
  const { client, connection, conversation, shared } = session
  const { flushQueue, now } = shared.outboxes
  const deadline = now() + Duration.toMillis(shared.settings.authTimeout)
  while (client.ending === undefined) {
    flushQueue.flush()
    const known = client.grant !== undefined && (client.member !== undefined || session.unplaced === undefined)
    const chunks = known ? yield* connection.pull : yield* before(deadline - now(), session)
    for (const chunk of chunks) {
      conversation.push(chunk)
      for (let wait = conversation.advance(); wait !== undefined; wait = conversation.advance()) {
        flushQueue.flush()
        yield* wait
      }
    }
  }
})

/** What a client says that has yet to show its token, or the secret of its place, if it does so in time. */
const before = (left: number, session: Session) =>
  Effect.timeoutOrElse(session.connection.pull, {
    duration: Duration.millis(Math.max(0, left)),
    orElse: () =>
      Effect.sync(() => {
        if (session.unplaced !== undefined) session.refuse(session.unplaced)
        else session.client.ending ??= farewell("timed out")
        return []
      })
  })

/** Gives up the client's place, tells everybody concerned, and closes its connection. */
const leave = Effect.fnUntraced(function* (session: Session, exit: Exit.Exit<void, Socket.SocketError>) {
  const { client, connection, conversation, refused, shared } = session
  const { address, member } = client
  client.ending ??= endingOf(exit)
  const { lastWords, reason } = client.ending
  const { unfit } = connection.transport
  if (refused !== undefined) {
    yield* shared.gate.log("refused", { address, reason: refused, ...(unfit === undefined ? {} : { unfit }) })
  } else if (member !== undefined) {
    const what = shared.places.holds(client) ? "lost" : "left"
    yield* Effect.annotateLogs(Effect.logInfo(what), { member, address, reason })
  }
  const group = yield* conversation.leave
  shared.clients.delete(client)
  shared.liveness.forget(client)
  shared.commands.orphan(client)
  group?.announcer.changed()
  const closing = connection.closeInOrder(lastWords && client.write(lastWords), shared.settings.linger)
  const overrun = member === undefined && shared.farewells >= MAX_FAREWELLS
  if (reason === "http" || overrun) return yield* connection.cut
  if (member !== undefined) return yield* closing
  shared.farewells++
  return yield* Effect.ensuring(
    closing,
    Effect.sync(() => {
      shared.farewells--
    })
  )
})

/** The same; however that may fail, without its client a place would be taken for ever. */
const end = (session: Session, exit: Exit.Exit<void, Socket.SocketError>) =>
  Effect.ensuring(
    leave(session, exit),
    Effect.andThen(
      session.conversation.leave,
      Effect.sync(() => session.shared.gate.closed(session.client))
    )
  )

/** What is under way may still end, for a while; then every client is told that the server stops. Succeeds when all are gone. */
export const stopAll = (shared: Shared): Effect.Effect<void> =>
  Effect.suspend(() => {
    shared.draining = true
    return Effect.andThen(Effect.timeoutOption(shared.commands.idle, shared.settings.drain), dismissAll(shared))
  })

const dismissAll = (shared: Shared): Effect.Effect<void> =>
  Effect.suspend(() => {
    shared.stopping = true
    const clients = [...shared.clients]
    // Who waits for an outcome is told that there will be none, before it is told goodbye.
    for (const client of clients) shared.commands.abandon(client)
    for (const client of clients) client.end(farewell("shutting down"))
    return Effect.forEach(clients, (client) => client.ended, { discard: true })
  })

/** How a session ended that nobody had decided to end. */
const endingOf = (exit: Exit.Exit<unknown, Socket.SocketError>): Ending => {
  if (Exit.isSuccess(exit) || Cause.hasDies(exit.cause)) return { reason: "internal error" }
  if (Cause.hasInterrupts(exit.cause)) return farewell("shutting down")
  const error = Cause.squash(exit.cause)
  const closed = Socket.isSocketError(error) && error.reason._tag === "SocketCloseError" && error.reason.code === 1000
  return { reason: closed ? "closed" : "reset" }
}
