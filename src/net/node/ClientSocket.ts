/** The client's side of a connection on Node's sockets, over TCP or TLS, as a layer of effect's `Socket`. */
import { isIP } from "node:net"
import { createSecureContext } from "node:tls"
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import { Duration, Effect, Layer, Schema } from "effect"
import { Socket } from "effect/socket"

/** The longest time to open a connection. */
const OPEN_TIMEOUT = Duration.seconds(5)

/**
 * TLS for a client. The values are PEM, not paths. The client speaks TLS 1.3, or 1.2 if the server has
 * nothing newer, and always verifies the server's certificate.
 */
export interface ClientTls {
  /** The CAs that may sign the server's certificate; by default those that Node trusts. */
  readonly ca?: string | undefined
  /** This client's certificate, and those between it and its CA. Needs `key`. */
  readonly cert?: string | undefined
  /** The certificate's private key, without a passphrase. */
  readonly key?: string | undefined
  /** The name that the server's certificate must be for; `host` by default. */
  readonly servername?: string | undefined
}

/** The server to connect to. */
export interface ServerAddress {
  readonly host: string
  readonly port: number
  /** Undefined: TCP without TLS. */
  readonly tls?: ClientTls | undefined
}

/** A value of `ClientTls` is invalid. */
export class ClientTlsError extends Schema.TaggedError<ClientTlsError>()("ClientTlsError", {
  message: Schema.String
}) {}

/** A socket that connects to the address. Fails with `ClientTlsError` if `tls` is invalid. */
export const layer = ({ host, port, tls }: ServerAddress): Layer.Layer<Socket.Socket, ClientTlsError> => {
  const address = { host, port, noDelay: true, keepAlive: true, openTimeout: OPEN_TIMEOUT }
  if (tls === undefined) return Layer.effect(Socket.Socket, NodeSocket.makeNet(address))
  const { ca, cert, key } = tls
  // TLS does not send an IP address as the server's name (RFC 6066), but verifies it in the certificate.
  const servername = tls.servername ?? (isIP(host) === 0 ? host : undefined)
  return Layer.effect(
    Socket.Socket,
    Effect.gen(function* () {
      // Made once: a mistake shows before the first connection, and each connection costs less.
      const secureContext = yield* Effect.try({
        try: () => createSecureContext({ ca, cert, key }),
        catch: (cause) => new ClientTlsError({ message: (cause as Error).message })
      })
      return yield* NodeSocket.makeTls({ ...address, servername, secureContext })
    })
  )
}
