/**
 * Writes bytes to one client and ends its connection. With the writer of an `effect/socket`
 * `Socket` each write is an effect, and so a fiber; a transport needs no fiber while the
 * socket has room. `NodeServer` provides transports for Node's sockets. By default a
 * transport uses the `Socket`'s writer.
 */
import type { Array as Arr } from "effect"
import { Context, Effect, Exit, Fiber, Scope } from "effect"
import { Socket } from "effect/socket"

/** The certificate of a client, if the server asks for one. */
export interface PeerCertificate {
  /** Whether a CA that the server trusts signed it. */
  readonly verified: boolean
  /** `X509Certificate.subjectAltName`; undefined if the certificate has none. */
  readonly subjectAltName: string | undefined
}

/** The server's side of one connection, for writing. */
export interface Transport {
  /** The client's address and port, such as `127.0.0.1:50412`: printable ASCII without spaces. */
  readonly address: string
  /** Undefined if the server asks for no certificate. */
  readonly certificate?: PeerCertificate | undefined
  /** Writes the bytes. False: wait for `drained` before the next write. Do not call it once the transport is `gone`. */
  readonly write: (chunks: Arr.NonEmptyReadonlyArray<Uint8Array>) => boolean
  /** Succeeds when there is room again; fails when the connection is closed. */
  readonly drained: Effect.Effect<void, Socket.SocketError>
  /** Whether the connection is closed, or being closed. */
  readonly gone: () => boolean
  /** The number of bytes that were written and not sent yet. */
  readonly unsent: () => number
  /** Ends the server's side of the connection, after everything is sent. */
  readonly end: () => void
  /** Closes the connection at once, and drops what was not sent. */
  readonly cut: () => void
}

/** A transport that uses the writer of a `Socket`. A `Socket` does not know the properties in the second argument. */
export const throughWriter = Effect.fnUntraced(function* (
  socket: Socket.Socket,
  {
    address = "unknown",
    certificate,
    unsent = () => 0
  }: Partial<Pick<Transport, "address" | "certificate" | "unsent">> = {}
): Effect.fn.Return<Transport, Socket.SocketError, Scope.Scope> {
  const writing = yield* Scope.fork(yield* Effect.scope)
  const writer = yield* Scope.provide(socket.writer, writing)
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  let last: Fiber.Fiber<void, Socket.SocketError> | undefined
  return {
    address,
    certificate,
    write: (chunks) => {
      last = fork(writer.writeAll(chunks))
      const exit = last.pollUnsafe()
      return exit !== undefined && Exit.isSuccess(exit)
    },
    drained: Effect.suspend(() => (last === undefined ? Effect.void : Fiber.join(last))),
    gone: () => false,
    unsent,
    end: () => fork(Scope.close(writing, Exit.void)),
    cut: () => fork(Effect.ignore(writer.write(new Socket.CloseEvent(1000))))
  }
})

/** Makes the transport of a connection. It runs in the connection's fiber; the scope closes when that fiber ends. */
export class TransportOf extends Context.Reference<
  (socket: Socket.Socket) => Effect.Effect<Transport, Socket.SocketError, Scope.Scope>
>("rankd/net/TransportOf", { defaultValue: () => throughWriter }) {}
