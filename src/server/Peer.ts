/**
 * What a connection's transport knows and an `effect/socket` `Socket` does not
 * tell. It is an effect that is run in the connection's own fiber; `NodeServer`
 * provides it for Node's sockets, other transports may do without.
 */
import { Context, Effect } from "effect"

export interface PeerInfo {
  /** Where the client connects from, such as `127.0.0.1:50412`; printable ASCII without spaces. */
  readonly address: string
  /** Bytes that were written and that the transport has not sent yet. */
  readonly unsent: () => number
}

export class Peer extends Context.Reference<Effect.Effect<PeerInfo>>("rankd/server/Peer", {
  defaultValue: () => Effect.succeed({ address: "unknown", unsent: () => 0 })
}) {}
