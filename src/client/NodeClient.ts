/** The client on Node's sockets, TCP's and TLS': the only place in `client` that knows Node. */
import { isIP } from "node:net"
import { createSecureContext } from "node:tls"
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import { Duration, Effect, Layer } from "effect"
import { Socket } from "effect/socket"
import { Rejected } from "./Connection.ts"
import { type ClientOptions, RankClient } from "./RankClient.ts"

/** How long a connection may take to be made. */
const OPEN_TIMEOUT = Duration.seconds(5)

/**
 * What a TLS connection is made with: PEM as such, not paths of files. TLS 1.3, or 1.2
 * where the server has no more; the server's certificate is always verified.
 */
export interface TlsOptions {
  /** The CAs, one of which must have signed the server's certificate; by default those that Node knows. */
  readonly ca?: string | undefined
  /** This client's certificate, and those between it and its CA; with `key`, or not at all. */
  readonly cert?: string | undefined
  /** The certificate's private key, without a passphrase. */
  readonly key?: string | undefined
  /** The name that the server's certificate has to be for; `host` by default. */
  readonly servername?: string | undefined
}

export interface Address {
  readonly host: string
  readonly port: number
  /** Over TLS, with this; over TCP without. */
  readonly tls?: TlsOptions | undefined
}

/** Connections to the server at `host` and `port`; `malformed` is a `tls` that is of no use. */
export const socket = ({ host, port, tls }: Address): Layer.Layer<Socket.Socket, Rejected> => {
  const address = { host, port, noDelay: true, keepAlive: true, openTimeout: OPEN_TIMEOUT }
  if (tls === undefined) return Layer.effect(Socket.Socket, NodeSocket.makeNet(address))
  const { ca, cert, key } = tls
  // An address is not to be sent as a name (RFC 6066); it is held against the certificate all the same.
  const servername = tls.servername ?? (isIP(host) === 0 ? host : undefined)
  return Layer.effect(
    Socket.Socket,
    Effect.gen(function* () {
      // Made once: what is wrong with it is wrong at once, and every connection is cheaper.
      const secureContext = yield* Effect.try({
        try: () => createSecureContext({ ca, cert, key }),
        catch: (cause) => new Rejected({ reason: "malformed", detail: (cause as Error).message })
      })
      return yield* NodeSocket.makeTls({ ...address, servername, secureContext })
    })
  )
}

/** A client of the server at `host` and `port`; it connects again whenever it has to. */
export const layer = ({ host, port, tls, ...options }: ClientOptions & Address): Layer.Layer<RankClient, Rejected> =>
  RankClient.layer(options).pipe(Layer.provide(socket({ host, port, tls })))
