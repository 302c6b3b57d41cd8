/**
 * A client as the sessions of other clients see it: where to write, in which encoding, and
 * how to end its session. The client's own session implements it. Other modules write only
 * to the two fields that are not `readonly`.
 */
import type { Effect } from "effect"
import type { Codec } from "../protocol/Codec.ts"
import type { ServerMessage } from "../protocol/Messages.ts"
import type { CloseCause } from "./events/CloseCause.ts"
import type { Lease } from "./Lease.ts"
import type { Outbox } from "./outbound/Outbox.ts"

/** The client has not received its rank yet. */
export const NO_RANK = -1

/** A command that a client has not answered yet. */
export interface PendingDelivery {
  /** The deliveries to the same client before and after this one. */
  earlier: PendingDelivery | undefined
  later: PendingDelivery | undefined
  /** Ends the delivery, because the client cannot answer any more. */
  readonly abandon: () => void
}

export interface Peer {
  /** The address and port that it connects from. */
  readonly address: string
  readonly outbox: Outbox
  /** The encoding that the server writes: text until the client's first line of JSON. */
  readonly codec: Codec
  /** `m7`; empty before its first seat. A member keeps it in every group. */
  readonly member: string
  /** Whether its token lets it execute commands. */
  readonly executes: boolean
  /** Its lease on its rank; undefined if it does not act on it. */
  readonly lease: Lease | undefined
  /** Whether its connection is lost, and its seat reserved. */
  readonly absent: boolean
  /** Whether its session ends and frees its seat: the server does not promote it any more. */
  readonly leaving: boolean
  /** The last rank that it received. `RankNotifier` writes it. */
  lastRankSent: number
  /** The last command that it has not answered yet, which leads to the earlier ones. `DeliveryTable` writes it. */
  lastDelivery: PendingDelivery | undefined
  /** Writes the message to it. False: the server is closing the client, which will not get the message. */
  readonly send: (message: ServerMessage) => boolean
  /** Ends its session after the present batch. The first cause wins. */
  readonly disconnect: (cause: CloseCause) => void
  /** Succeeds when its session has ended and its connection is closed. */
  readonly ended: Effect.Effect<unknown>
}

/** Sends one message to several clients. It encodes the message once for each encoding that they speak. */
export const sendToAll = (peers: Iterable<Peer>, message: ServerMessage): void => {
  const lines = new Map<Codec, Uint8Array>()
  for (const { codec, outbox } of peers) {
    const line = lines.get(codec) ?? Buffer.from(`${codec.encodeServer(message)}\n`)
    lines.set(codec, line)
    outbox.append(line, 0, line.length)
  }
}
