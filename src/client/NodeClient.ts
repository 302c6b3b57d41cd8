/** The client on Node's TCP sockets: the only place in `client` that knows Node. */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import { Layer } from "effect"
import { Socket } from "effect/socket"
import type { Rejected } from "./Link.ts"
import { type ClientOptions, RankClient } from "./RankClient.ts"

/** How long a connection may take to be made. */
const OPEN_TIMEOUT = "5 seconds"

export interface Address {
  readonly host: string
  readonly port: number
}

/** Connections to the server at `host` and `port`. */
export const socket = ({ host, port }: Address): Layer.Layer<Socket.Socket> =>
  Layer.effect(
    Socket.Socket,
    NodeSocket.makeNet({ host, port, noDelay: true, keepAlive: true, openTimeout: OPEN_TIMEOUT })
  )

/** A client of the server at `host` and `port`; it connects again whenever it has to. */
export const layer = ({ host, port, ...options }: ClientOptions & Address): Layer.Layer<RankClient, Rejected> =>
  RankClient.layer(options).pipe(Layer.provide(socket({ host, port })))
