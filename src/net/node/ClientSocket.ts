/** A client's side of a connection on Node's sockets, over TCP or TLS, as a layer of effect's `Socket`. */
import { isIP } from "node:net"
import { createSecureContext } from "node:tls"
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import { Duration, Effect, Layer, Schema } from "effect"
import { Socket } from "effect/socket"

/** How long it may take to open a connection. */
const OPEN_TIMEOUT = Duration.seconds(5)

/**
 * How a client speaks TLS. The values are PEM, not paths. It speaks TLS 1.3, or 1.2 if the server has
 * nothing newer, and always verifies the server's certificate.
 */
export interface ClientTls {
  /** The CAs, one of which must have signed the server's certificate; by default those that Node knows. */
  readonly ca?: string | undefined
  /** This client's certificate, and those between it and its CA; only together with `key`. */
  readonly cert?: string | undefined
  /** The certificate's private key, without a passphrase. */
  readonly key?: string | undefined
  /** The name that the server's certificate must be for; `host` by default. */
  readonly servername?: string | undefined
}

export interface ServerAddress {
  readonly host: string
  readonly port: number
  /** Use TLS; TCP alone if undefined. */
  readonly tls?: ClientTls | undefined
}

/** A value of `ClientTls` is invalid. */
export class ClientTlsError extends Schema.TaggedError<ClientTlsError>()("ClientTlsError", {
  message: Schema.String
}) {}

/** Sockets that connect to the address. Fails with `ClientTlsError` if `tls` is invalid. */
export const layer = ({ host, port, tls }: ServerAddress): Layer.Layer<Socket.Socket, ClientTlsError> => {
  const address = { host, port, noDelay: true, keepAlive: true, openTimeout: OPEN_TIMEOUT }
  if (tls === undefined) return Layer.effect(Socket.Socket, NodeSocket.makeNet(address))
  const { ca, cert, key } = tls
  // TLS does not send an address as the server's name (RFC 6066), but verifies it in the certificate.
  const servername = tls.servername ?? (isIP(host) === 0 ? host : undefined)
  return Layer.effect(
    Socket.Socket,
    Effect.gen(function* () {
      // Made once: a mistake shows before anything connects, and each connection costs less.
      const secureContext = yield* Effect.try({
        try: () => createSecureContext({ ca, cert, key }),
        catch: (cause) => new ClientTlsError({ message: (cause as Error).message })
      })
      return yield* NodeSocket.makeTls({ ...address, servername, secureContext })
    })
  )
}
