/** Clients of the library on real sockets. */
import { Context, Effect, Layer, Logger, SubscriptionRef } from "effect"
import { type ClientOptions, NodeClient, RankClient, type Standing } from "../../src/index.ts"
import { until } from "./until.ts"

export type Client = RankClient["Service"]

export const standingOf = ({ standing }: Client): Standing | undefined => SubscriptionRef.getUnsafe(standing)

export const rankOf = (client: Client): number | undefined => standingOf(client)?.rank

/** A client of the server on this port of the loopback interface, until the scope closes. */
export const connectClient = Effect.fnUntraced(function* (port: number, options: ClientOptions = {}) {
  const layer = NodeClient.layer({ host: "127.0.0.1", port, ...options })
  return Context.get(yield* Layer.build(Layer.provide(layer, Logger.layer([]))), RankClient)
})

/** Waits until the server has admitted the client. */
export const admitted = (client: Client): Effect.Effect<void> => until(() => standingOf(client) !== undefined)

/** The same client, once the server has admitted it. */
export const join = Effect.fnUntraced(function* (port: number, options: ClientOptions = {}) {
  const client = yield* connectClient(port, options)
  yield* admitted(client)
  return client
})
