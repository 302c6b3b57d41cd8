/**
 * A client as other clients' sessions see it: where to write to it, how, and how to
 * end its session. The client's own session implements it; nobody else writes to
 * more than the two fields that are not `readonly`.
 */
import type { Effect } from "effect"
import type { Codec } from "../protocol/Codec.ts"
import type { ServerMessage } from "../protocol/Messages.ts"
import type { CloseCause } from "./events/CloseCause.ts"
import type { Outbox } from "./outbound/Outbox.ts"

/** No rank: the client gets its rank before anything else. */
export const NO_RANK = -1

/** A command that a client has yet to answer. */
export interface PendingDelivery {
  /** The ones that the same client got before and after it. */
  earlier: PendingDelivery | undefined
  later: PendingDelivery | undefined
  /** Ends it: the client cannot answer any more. */
  readonly abandon: () => void
}

export interface Peer {
  /** Where it connects from. */
  readonly address: string
  readonly outbox: Outbox
  /** The encoding that it speaks: text until its first line of JSON. */
  readonly codec: Codec
  /** `m7`; empty before its first seat. A member keeps it in every group. */
  readonly member: string
  /** Whether its token lets it execute commands. */
  readonly executes: boolean
  /** Whether its connection is lost and its seat reserved. */
  readonly absent: boolean
  /** Whether its session ends and its seat is about to be free: it is promoted no more. */
  readonly leaving: boolean
  /** The rank that it got last. `RankNotifier` keeps it. */
  lastRankSent: number
  /** The last command that it has yet to answer; the others follow from there. `DeliveryTable` keeps it. */
  lastDelivery: PendingDelivery | undefined
  /** Writes the message to it; false where the client is being closed and will not get it. */
  readonly send: (message: ServerMessage) => boolean
  /** Ends its session, for the first cause that anybody gives. It ends after the present batch. */
  readonly disconnect: (cause: CloseCause) => void
  /** Succeeds when its session has ended and its connection is closed. */
  readonly ended: Effect.Effect<unknown>
}

/** Sends the same to many: each encoding of the message is made once, and only if one of them speaks it. */
export const sendToAll = (peers: Iterable<Peer>, message: ServerMessage): void => {
  const lines = new Map<Codec, Uint8Array>()
  for (const { codec, outbox } of peers) {
    const line = lines.get(codec) ?? Buffer.from(`${codec.encodeServer(message)}\n`)
    lines.set(codec, line)
    outbox.append(line, 0, line.length)
  }
}
