/**
 * The life of one client: it is admitted, what it says is done (`Conversation`),
 * and it leaves. The session speaks to an `effect/socket` `Socket`, so that it
 * runs without a network.
 */
import { Cause, Effect, Exit } from "effect"
import { Socket } from "effect/socket"
import type { Reason } from "../protocol/Message.ts"
import { DEFAULT_GROUP, type Groups } from "../rank/Groups.ts"
import { Client, type Ending } from "./Client.ts"
import type { Commands } from "./Commands.ts"
import * as Connection from "./Connection.ts"
import { Conversation } from "./Conversation.ts"
import type { Group } from "./Group.ts"
import type { OutboxOptions, Touched } from "./Outbox.ts"
import type { Router } from "./Router.ts"
import type { SettingsValues } from "./Settings.ts"

/** What the sessions of a server share. */
export interface Shared {
  readonly settings: SettingsValues
  /** What the server calls itself. */
  readonly server: string
  readonly groups: Groups<Group>
  readonly commands: Commands
  readonly router: Router
  readonly touched: Touched
  readonly fork: OutboxOptions["fork"]
  /** The clients whose sessions run; the refused ones included. */
  readonly clients: Set<Client>
  /** Whether the server is about to stop. */
  stopping: boolean
}

export const run = Effect.fnUntraced(
  function* (shared: Shared, socket: Socket.Socket) {
    const { clients, commands, settings, touched } = shared
    const connection = yield* Connection.make(socket, {
      settings,
      touched,
      fork: shared.fork,
      onSlow: () => client.end(farewell("slow consumer"))
    })
    const { address, outbox } = connection
    const client: Client = new Client({ address, outbox, session: yield* Effect.fiber })
    yield* Effect.acquireRelease(
      Effect.sync(() => clients.add(client)),
      () =>
        Effect.sync(() => {
          clients.delete(client)
          commands.orphan(client)
          conversation.group?.announcer.changed()
        })
    )
    const conversation: Conversation = new Conversation(shared, client, yield* Effect.scope)

    const refuse = (reason: Reason) => {
      connection.lastWords = client.write({ _tag: "Error", reason })
      return Effect.annotateLogs(Effect.logInfo("refused"), { address, reason })
    }
    if (shared.stopping) return yield* refuse("shutting down")
    let refused: Reason | undefined
    yield* Effect.gen(function* () {
      if (settings.admission === "connect") {
        refused = yield* conversation.enter(DEFAULT_GROUP)
        if (refused !== undefined) return yield* refuse(refused)
      }
      return yield* converse(touched, connection, client, conversation)
    }).pipe(
      Effect.onExit((exit) => {
        if (refused !== undefined) return Effect.void
        const ending = client.ending ?? endingOf(exit)
        client.ending = ending
        connection.lastWords = ending.lastWords && client.write(ending.lastWords)
        connection.abrupt = ending.reason === "http"
        const { member } = client
        if (member === undefined) return Effect.void
        return Effect.annotateLogs(Effect.logInfo("left"), { member, address, reason: ending.reason })
      })
    )
  },
  Effect.scoped,
  (session) => Effect.catchTag(session, "SocketError", () => Effect.void)
)

const farewell = (reason: "shutting down" | "slow consumer"): Ending => ({
  reason,
  lastWords: { _tag: "Bye", reason }
})

/** Tells every client that the server stops, and succeeds when all are gone. */
export const stopAll = (shared: Shared): Effect.Effect<void> =>
  Effect.suspend(() => {
    shared.stopping = true
    const clients = [...shared.clients]
    // Who waits for an outcome is told that there will be none, before it is told goodbye.
    for (const client of clients) shared.commands.abandon(client)
    for (const client of clients) client.end(farewell("shutting down"))
    return Effect.forEach(clients, (client) => client.ended, { discard: true })
  })

/** How a session ended that nobody had decided to end. */
const endingOf = (exit: Exit.Exit<void, Socket.SocketError>): Ending => {
  if (Exit.isSuccess(exit) || Cause.hasDies(exit.cause)) return { reason: "internal error" }
  if (Cause.hasInterrupts(exit.cause)) return farewell("shutting down")
  const error = Cause.squash(exit.cause)
  const closed = Socket.isSocketError(error) && error.reason._tag === "SocketCloseError" && error.reason.code === 1000
  return { reason: closed ? "closed" : "reset" }
}

/** Does what the client says, until it, or somebody else, ends the session. */
const converse = Effect.fnUntraced(function* (
  touched: Touched,
  { pull }: Connection.Connection,
  client: Client,
  conversation: Conversation
): Effect.fn.Return<void, Socket.SocketError> {
  while (client.ending === undefined) {
    touched.flush()
    for (const chunk of yield* pull) {
      conversation.push(chunk)
      for (let wait = conversation.advance(); wait !== undefined; wait = conversation.advance()) {
        touched.flush()
        yield* wait
      }
    }
  }
})
