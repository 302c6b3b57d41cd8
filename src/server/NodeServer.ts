/**
 * The layers that put the server on Node's TCP sockets: the only place in
 * `server` that knows Node.
 */
// Module by module: the whole package brings Redis and HTTP clients along, half of the time that a start takes.
import type * as Net from "node:net"
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import { Effect, Layer, Option } from "effect"
import { Socket, type SocketServer } from "effect/socket"
import { type Direct, Peer, type PeerInfo } from "./Peer.ts"

/** Connections that may wait to be accepted. The kernel lowers it to its own limit (`somaxconn`). */
const BACKLOG = 4096

/** A closed socket never drains. */
const CLOSED = new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1006 }) })

const directTo = (socket: Net.Socket): Direct => ({
  write: (chunks) => {
    if (chunks.length === 1) return socket.write(chunks[0]!)
    socket.cork()
    let taken = true
    for (const chunk of chunks) taken = socket.write(chunk)
    socket.uncork()
    return taken
  },
  drained: Effect.callback((resume) => {
    if (!socket.writableNeedDrain) return resume(socket.destroyed ? Effect.fail(CLOSED) : Effect.void)
    const drained = () => settle(Effect.void)
    const closed = () => settle(Effect.fail(CLOSED))
    const settle = (exit: Effect.Effect<void, Socket.SocketError>) => {
      socket.off("drain", drained).off("close", closed)
      resume(exit)
    }
    socket.on("drain", drained).on("close", closed)
    return Effect.sync(() => socket.off("drain", drained).off("close", closed))
  }),
  gone: () => !socket.writable
})

const peer: Effect.Effect<PeerInfo> = Effect.map(
  Effect.serviceOption(NodeSocket.NetSocket),
  Option.match({
    onNone: () => ({ address: "unknown", unsent: () => 0 }),
    onSome: (socket) => ({
      address: `${hostInUrl(socket.remoteAddress ?? "unknown")}:${socket.remotePort ?? 0}`,
      unsent: () => (socket.destroyed ? 0 : socket.writableLength),
      direct: directTo(socket)
    })
  })
)

/** An IPv6 address goes in brackets where a port follows it. */
export const hostInUrl = (host: string): string => (host.includes(":") ? `[${host}]` : host)

/** Listens on `host`, a name or an address, and `port`, 0 for a free one. */
export const layer = (options: {
  readonly host: string
  readonly port: number
}): Layer.Layer<SocketServer.SocketServer, SocketServer.SocketServerError> =>
  Layer.merge(
    NodeSocketServer.layer({
      ...options,
      backlog: BACKLOG,
      noDelay: true,
      keepAlive: true,
      // A client may end its side and still be answered: `printf 'RANKS\n' | nc host port`.
      allowHalfOpen: true
    }),
    Layer.succeed(Peer, peer)
  )
