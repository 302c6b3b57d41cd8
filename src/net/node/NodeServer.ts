/** The server on Node's sockets, over TCP or TLS, as layers. */
// Module by module: the whole package loads Redis and HTTP clients, too, which is half of the start time.
import type * as Net from "node:net"
import type * as NodeTls from "node:tls"
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import type { Array as Arr } from "effect"
import { Context, Effect, Layer, Option } from "effect"
import { Socket, SocketServer } from "effect/socket"
import { hostInUrl } from "../Subnet.ts"
import { type PeerCertificate, type Transport, TransportOf, throughWriter } from "../Transport.ts"
import * as Tls from "./ServerTls.ts"

export { HANDSHAKE_TIMEOUT, MAX_HANDSHAKES, TlsError, type TlsOptions } from "./ServerTls.ts"

export { hostInUrl }

/** The most connections that wait to be accepted. The kernel lowers it to its own limit (`somaxconn`). */
const BACKLOG = 4096

/**
 * After so many milliseconds of silence TCP probes the client's machine, which has ten seconds
 * to answer. The system's own default is two hours. A heartbeat detects a dead client sooner.
 */
const KEEP_ALIVE_DELAY = 30_000

/** What `drained` fails with: a closed socket never drains. */
const CLOSED = new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1006 }) })

/** A class with methods, not an object of closures: an idle client then costs less memory. */
class NodeTransport implements Transport {
  readonly address: string
  readonly #socket: Net.Socket

  constructor(socket: Net.Socket) {
    this.address = `${hostInUrl(socket.remoteAddress ?? "unknown")}:${socket.remotePort ?? 0}`
    this.#socket = socket
  }

  write(chunks: Arr.NonEmptyReadonlyArray<Uint8Array>): boolean {
    const socket = this.#socket
    if (chunks.length === 1) return socket.write(chunks[0])
    socket.cork()
    let taken = true
    for (const chunk of chunks) taken = socket.write(chunk)
    socket.uncork()
    return taken
  }

  get drained(): Effect.Effect<void, Socket.SocketError> {
    const socket = this.#socket
    return Effect.callback((resume) => {
      if (!socket.writableNeedDrain) return resume(socket.destroyed ? Effect.fail(CLOSED) : Effect.void)
      const drained = () => settle(Effect.void)
      const closed = () => settle(Effect.fail(CLOSED))
      const settle = (exit: Effect.Effect<void, Socket.SocketError>) => {
        socket.off("drain", drained).off("close", closed)
        resume(exit)
      }
      socket.on("drain", drained).on("close", closed)
      return Effect.sync(() => socket.off("drain", drained).off("close", closed))
    })
  }

  gone(): boolean {
    return !this.#socket.writable
  }

  unsent(): number {
    return this.#socket.destroyed ? 0 : this.#socket.writableLength
  }

  end(): void {
    if (this.#socket.writable) this.#socket.end()
  }

  cut(): void {
    this.#socket.destroy()
  }
}

/** The transport of a client with a certificate. The handshake fails if the CA has not signed it. */
class CertificateTransport extends NodeTransport {
  readonly certificate: PeerCertificate

  constructor(socket: NodeTls.TLSSocket) {
    super(socket)
    const verified = socket.authorized ? socket.getPeerX509Certificate() : undefined
    this.certificate = { verified: verified !== undefined, subjectAltName: verified?.subjectAltName }
  }
}

const transportOf =
  (make: (socket: Net.Socket) => Transport): (typeof TransportOf)["Service"] =>
  (socket) =>
    Effect.flatMap(Effect.serviceOption(NodeSocket.NetSocket), (net) =>
      Option.isSome(net) ? Effect.succeed(make(net.value)) : throughWriter(socket)
    )

/**
 * Reads the TLS files again, for example after the certificate was renewed. New connections use
 * the new files. If a file cannot be used, it fails and changes nothing. `layer` provides this
 * effect; without TLS it does nothing.
 */
export class Reload extends Context.Reference<Effect.Effect<void, Tls.TlsError>>("rankd/net/node/NodeServer/Reload", {
  defaultValue: () => Effect.void
}) {}

/**
 * Listens on `host` (a name or an address) and `port` (0: any free port), with TLS if `tls`
 * is given. It fails with a `SocketServerError`; if a TLS file cannot be used, the cause of its
 * reason is a `TlsError`.
 */
export const layer = (options: {
  readonly host: string
  readonly port: number
  readonly tls?: Tls.TlsOptions | undefined
}): Layer.Layer<SocketServer.SocketServer, SocketServer.SocketServerError> => {
  const { host, port, tls } = options
  const listen = {
    host,
    port,
    backlog: BACKLOG,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_DELAY,
    // A client may end its side and still gets its answers: `printf 'RANKS\n' | nc host port`.
    allowHalfOpen: true
  }
  if (tls === undefined) {
    return Layer.merge(
      NodeSocketServer.layer(listen),
      Layer.succeed(
        TransportOf,
        transportOf((socket) => new NodeTransport(socket))
      )
    )
  }
  const make = (socket: Net.Socket) =>
    tls.ca === undefined ? new NodeTransport(socket) : new CertificateTransport(socket as NodeTls.TLSSocket)
  return Layer.effectContext(
    Tls.make(tls, listen).pipe(
      Effect.map(({ reload, socketServer }) =>
        Context.make(SocketServer.SocketServer, socketServer).pipe(
          Context.add(TransportOf, transportOf(make)),
          Context.add(Reload, reload)
        )
      ),
      Effect.catchTag("TlsError", (cause) =>
        Effect.fail(new SocketServer.SocketServerError({ reason: new SocketServer.SocketServerOpenError({ cause }) }))
      )
    )
  )
}
