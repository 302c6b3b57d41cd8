/**
 * What a connection's transport knows and an `effect/socket` `Socket` does not
 * tell. It is an effect that is run in the connection's own fiber; `NodeServer`
 * provides it for Node's sockets, other transports may do without.
 */
import { Context, Effect } from "effect"
import type { Socket } from "effect/socket"

/** A way to write that costs no fiber where the transport takes the bytes at once. */
export interface Direct {
  /** Hands the bytes over; false if `drained` is to be awaited before there are more. Not to be called once it is `gone`. */
  readonly write: (chunks: ReadonlyArray<Uint8Array>) => boolean
  /** Succeeds when there is room again. */
  readonly drained: Effect.Effect<void, Socket.SocketError>
  /** Whether the connection is closed, or being closed. */
  readonly gone: () => boolean
}

export interface PeerInfo {
  /** Where the client connects from, such as `127.0.0.1:50412`; printable ASCII without spaces. */
  readonly address: string
  /** Bytes that were written and that the transport has not sent yet. */
  readonly unsent: () => number
  /** Without it, the `Socket`'s own writer is used. */
  readonly direct?: Direct
}

export class Peer extends Context.Reference<Effect.Effect<PeerInfo>>("rankd/server/Peer", {
  defaultValue: () => Effect.succeed({ address: "unknown", unsent: () => 0 })
}) {}
