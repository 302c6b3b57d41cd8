/** The client on Node's sockets. */
import { Layer } from "effect"
import type { Socket } from "effect/socket"
import * as ClientSocket from "../net/node/ClientSocket.ts"
import { uptimeMillis } from "../net/node/uptime.ts"
import { Uptime } from "./lease/Stopwatch.ts"
import { type ClientOptions, RankClient } from "./RankClient.ts"
import { Rejected } from "./Rejected.ts"

export type { ClientTls as TlsOptions, ServerAddress as Address } from "../net/node/ClientSocket.ts"

/** Sockets that connect to the server at `host` and `port`. Fails with `malformed` if `tls` is invalid. */
export const socket = (address: ClientSocket.ServerAddress): Layer.Layer<Socket.Socket, Rejected> =>
  Layer.catchTag(ClientSocket.layer(address), "ClientTlsError", ({ message }) =>
    Layer.effectContext(new Rejected({ reason: "malformed", detail: message }))
  )

/**
 * A client of the server at `host` and `port`; it connects again whenever it has to. Fails with `malformed`
 * if `tls` is invalid, or an option is none that a server takes.
 */
export const layer = ({
  host,
  port,
  tls,
  ...options
}: ClientOptions & ClientSocket.ServerAddress): Layer.Layer<RankClient, Rejected> =>
  RankClient.layer(options).pipe(
    Layer.provide(socket({ host, port, tls })),
    Layer.provide(Layer.succeed(Uptime, uptimeMillis))
  )
