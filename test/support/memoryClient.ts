/** A client of a `memoryFake`, under `TestClock`. */
import { Context, Effect, Layer, Logger, SubscriptionRef } from "effect"
import { Socket } from "effect/socket"
import { type ClientOptions, RankClient, type Standing } from "../../src/index.ts"
import { type MemoryConnection, type MemoryFake, memoryFake } from "./memoryFake.ts"
import { passUntil } from "./until.ts"

export type Client = RankClient["Service"]

/** A client over this socket, until the scope closes. */
export const clientOver = (socket: Socket.Socket, options: ClientOptions = {}) =>
  RankClient.layer(options).pipe(
    Layer.provide(Layer.succeed(Socket.Socket, socket)),
    Layer.provide(Logger.layer([])),
    Layer.build,
    Effect.map(Context.get(RankClient))
  )

export const standingOf = ({ standing }: Client): Standing | undefined => SubscriptionRef.getUnsafe(standing)

/** Lets time pass until the server has admitted the client. */
export const admitted = (client: Client): Effect.Effect<void> => passUntil(() => standingOf(client) !== undefined)

/** A client that a server in memory has admitted, with that server. */
export const admittedTo = Effect.fnUntraced(function* (server: MemoryFake, options: ClientOptions = {}) {
  const client = yield* clientOver(server.socket, options)
  yield* admitted(client)
  return client
})

/** A server that welcomes every client, and leaves other messages to `hear`. */
export const welcoming = (
  hear: (said: MemoryConnection["said"][number], connection: MemoryConnection) => void = () => {}
): MemoryFake =>
  memoryFake((said, connection) => {
    if (said._tag === "Hello") connection.welcome()
    else hear(said, connection)
  })
