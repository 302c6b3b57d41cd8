/**
 * How bytes get to one client, and when its connection ends. An `effect/socket`
 * `Socket` has a writer that is an effect, and so a fiber, for each write; a
 * transport writes without one as long as there is room. `NodeServer` provides
 * that for Node's sockets; by default it is made of the `Socket`'s writer.
 */
import type { Array as Arr } from "effect"
import { Context, Effect, Exit, Fiber, Scope } from "effect"
import { Socket } from "effect/socket"

/** The certificate that a client had to show. */
export interface PeerCertificate {
  /** Whether a CA that the server trusts has signed it. */
  readonly verified: boolean
  /** As `X509Certificate.subjectAltName` has it; undefined where the certificate has none. */
  readonly subjectAltName: string | undefined
}

export interface Transport {
  /** Where the client connects from, such as `127.0.0.1:50412`; printable ASCII without spaces. */
  readonly address: string
  /** Undefined where the server asks for no certificate. */
  readonly certificate?: PeerCertificate | undefined
  /** Hands the bytes over; false if `drained` is to be awaited before there are more. Not to be called once it is `gone`. */
  readonly write: (chunks: Arr.NonEmptyReadonlyArray<Uint8Array>) => boolean
  /** Succeeds when there is room again; fails when the connection is closed. */
  readonly drained: Effect.Effect<void, Socket.SocketError>
  /** Whether the connection is closed, or being closed. */
  readonly gone: () => boolean
  /** Bytes that were written and not sent yet. */
  readonly unsent: () => number
  /** Ends our side, once everything is sent. */
  readonly end: () => void
  /** Closes the connection, whatever was not sent. */
  readonly cut: () => void
}

/** A transport of the writer that every `Socket` has; what that does not tell may be told beside it. */
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

/** Makes a connection's transport. It is run in the connection's own fiber, whose scope is closed when it has ended. */
export class TransportOf extends Context.Reference<
  (socket: Socket.Socket) => Effect.Effect<Transport, Socket.SocketError, Scope.Scope>
>("rankd/net/TransportOf", { defaultValue: () => throughWriter }) {}
