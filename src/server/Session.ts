/**
 * The life of one client: it is admitted, what it says is done (`Conversation`),
 * and it leaves. The session speaks to an `effect/socket` `Socket`, so that it
 * runs without a network.
 */
import { Cause, Effect, Exit, type Fiber } from "effect"
import { Socket } from "effect/socket"
import type { Reason } from "../protocol/Message.ts"
import { DEFAULT_GROUP, type Groups } from "../rank/Groups.ts"
import { Client, type Ending, farewell } from "./Client.ts"
import type { Commands } from "./Commands.ts"
import { Connection } from "./Connection.ts"
import { Conversation } from "./Conversation.ts"
import type { Group } from "./Group.ts"
import type { Liveness } from "./Liveness.ts"
import { Outbox, type OutboxOptions } from "./Outbox.ts"
import type { Places } from "./Places.ts"
import type { Router } from "./Router.ts"
import type { SettingsValues } from "./Settings.ts"
import { type Transport, TransportOf } from "./Transport.ts"

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
  /** The clients whose sessions run; the refused ones included. */
  readonly clients: Set<Client>
  /** Whether the server is about to stop: it takes no new client, and no new command. */
  draining: boolean
  /** Whether all clients are being told goodbye: they are not told their ranks any more. */
  stopping: boolean
}

class Session {
  readonly shared: Shared
  readonly connection: Connection
  readonly client: Client
  readonly conversation: Conversation

  constructor(shared: Shared, pull: Connection["pull"], transport: Transport, fiber: Fiber.Fiber<unknown, unknown>) {
    const outbox = new Outbox(shared.outboxes, transport, () => this.client.end(farewell("slow consumer")))
    this.shared = shared
    this.connection = new Connection(pull, outbox, transport)
    this.client = new Client(transport.address, outbox, fiber)
    this.conversation = new Conversation(shared, this.client)
  }
}

export const run = (shared: Shared, socket: Socket.Socket): Effect.Effect<void> =>
  open(shared, socket).pipe(
    Effect.flatMap((session) =>
      // However leaving may fail: without its client a place would be taken for ever.
      Effect.ensuring(
        Effect.onExit(admit(session), (exit) => leave(session, exit)),
        session.conversation.leave
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

/** Ranks the client, where that is not for it to ask for; then does what it says. Why not, where it is refused. */
const admit = (session: Session): Effect.Effect<Reason | undefined, Socket.SocketError> =>
  Effect.suspend(() => {
    const { client, conversation, shared } = session
    shared.clients.add(client)
    if (shared.draining) return Effect.succeed("shutting down")
    if (shared.settings.admission !== "connect") return converse(session)
    return Effect.flatMap(conversation.enter(DEFAULT_GROUP), (refused) =>
      // Others that connect at this moment are told their ranks together with this one: the second write in a row costs less.
      refused === undefined ? Effect.andThen(Effect.yieldNow, converse(session)) : Effect.succeed(refused)
    )
  })

/** Does what the client says, until it, or somebody else, ends the session. */
const converse = Effect.fnUntraced(function* ({
  client,
  connection,
  conversation,
  shared
}: Session): Effect.fn.Return<undefined, Socket.SocketError> {
  const { touched } = shared.outboxes
  while (client.ending === undefined) {
    touched.flush()
    for (const chunk of yield* connection.pull) {
      conversation.push(chunk)
      for (let wait = conversation.advance(); wait !== undefined; wait = conversation.advance()) {
        touched.flush()
        yield* wait
      }
    }
  }
})

/** Gives up the client's place, tells everybody concerned, and closes its connection. */
const leave = Effect.fnUntraced(function* (session: Session, exit: Exit.Exit<Reason | undefined, Socket.SocketError>) {
  const { client, connection, conversation, shared } = session
  const { address, member } = client
  const refused = Exit.isSuccess(exit) ? exit.value : undefined
  client.ending ??=
    refused === undefined ? endingOf(exit) : { reason: "closed", lastWords: { _tag: "Error", reason: refused } }
  const { lastWords, reason } = client.ending
  if (refused !== undefined) yield* Effect.annotateLogs(Effect.logInfo("refused"), { address, reason: refused })
  else if (member !== undefined) {
    const what = shared.places.holds(client) ? "lost" : "left"
    yield* Effect.annotateLogs(Effect.logInfo(what), { member, address, reason })
  }
  const group = yield* conversation.leave
  shared.clients.delete(client)
  shared.liveness.forget(client)
  shared.commands.orphan(client)
  group?.announcer.changed()
  if (reason === "http") return yield* connection.cut
  return yield* connection.closeInOrder(lastWords && client.write(lastWords), shared.settings.linger)
})

/** What is under way may still end, for a while; then every client is told that the server stops. Succeeds when all are gone. */
export const stopAll = (shared: Shared): Effect.Effect<void> =>
  Effect.suspend(() => {
    shared.draining = true
    return Effect.andThen(Effect.timeoutOption(shared.commands.idle, shared.settings.drain), farewells(shared))
  })

const farewells = (shared: Shared): Effect.Effect<void> =>
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
