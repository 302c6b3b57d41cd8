/**
 * The layers that put the server on Node's TCP sockets: the only place in
 * `server` that knows Node.
 */
// Module by module: the whole package brings Redis and HTTP clients along, half of the time that a start takes.
import type * as Net from "node:net"
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import type { Array as Arr } from "effect"
import { Effect, Layer, Option } from "effect"
import { Socket, type SocketServer } from "effect/socket"
import { type Transport, TransportOf, throughWriter } from "./Transport.ts"

/** Connections that may wait to be accepted. The kernel lowers it to its own limit (`somaxconn`). */
const BACKLOG = 4096

/**
 * How long nothing is heard of a client before TCP asks its machine, which has ten seconds
 * to answer; the system's own default is two hours. Clients with a heartbeat are found out sooner.
 */
const KEEP_ALIVE_DELAY = 30_000

/** A closed socket never drains. */
const CLOSED = new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1006 }) })

/** A class, and its members methods: an idle client has no closures of its own. */
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

const transportOf: (typeof TransportOf)["Service"] = (socket) =>
  Effect.flatMap(Effect.serviceOption(NodeSocket.NetSocket), (net) =>
    Option.isSome(net) ? Effect.succeed(new NodeTransport(net.value)) : throughWriter(socket)
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
      keepAliveInitialDelay: KEEP_ALIVE_DELAY,
      // A client may end its side and still be answered: `printf 'RANKS\n' | nc host port`.
      allowHalfOpen: true
    }),
    Layer.succeed(TransportOf, transportOf)
  )
