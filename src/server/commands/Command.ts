/**
 * A tracked command and its deliveries, one for each target. Invariant: a delivery ends
 * exactly once. A command is open until its last delivery has ended.
 */
import type { Latch } from "effect"
import type { Status } from "../../protocol/Messages.ts"
import type { Cancellable } from "../outbound/WriteBuffer.ts"
import type { Peer, PendingDelivery } from "../Peer.ts"

/** A client as an issuer of tracked commands. */
export class Issuer {
  readonly peer: Peer
  /** Its open commands, by its own ids. */
  readonly open = new Map<string, Command>()
  /** Opens when none of its commands is open; undefined while no fiber waits for that. */
  idle: Latch.Latch | undefined = undefined

  constructor(peer: Peer) {
    this.peer = peer
  }
}

/** Ends deliveries: `TrackedCommands` does. */
export interface Finisher {
  /** Ends the delivery, unless it has already ended. */
  readonly finish: (delivery: Delivery, status: Status) => void
}

/** Shared, and never changed. Most commands have one delivery, and an empty array that grows reserves memory for many. */
const NO_DELIVERIES: Array<Delivery> = []

export class Command {
  /** The id that the issuer chose. */
  readonly id: string
  /** Undefined once the issuer has left: then the outcomes are only events. */
  issuer: Issuer | undefined
  /** The member id of the issuer. */
  readonly issuedBy: string
  /** Whether its target is a range or everyone, so that `Done` follows the last outcome. */
  readonly several: boolean
  /** When it times out, in milliseconds of the monotonic clock. */
  deadline: number
  /** The status of its open deliveries, once the issuer has withdrawn it or it has timed out. */
  stopped: "cancelled" | "timeout" | undefined = undefined
  deliveries = NO_DELIVERIES
  /** The number of open deliveries, and the index of the first one that is not stopped yet. */
  open = 0
  next = 0
  ok = 0
  notOk = 0

  constructor(issuer: Issuer, id: string, several: boolean, deadline: number) {
    this.id = id
    this.issuer = issuer
    this.issuedBy = issuer.peer.member
    this.several = several
    this.deadline = deadline
  }

  add(delivery: Delivery): void {
    if (this.deliveries === NO_DELIVERIES) this.deliveries = [delivery]
    else this.deliveries.push(delivery)
    this.open++
  }
}

export class Delivery implements Cancellable, PendingDelivery {
  /** The id that the target gets. The server chooses it. */
  readonly id: number
  readonly command: Command
  /** The target's rank when the command was routed. */
  readonly rank: number
  readonly target: Peer
  readonly #finisher: Finisher
  /** Whether its line was written to the target's socket. If not, the target never gets it after the delivery has ended. */
  sent = false
  ended = false

  /** The next delivery in its bucket of the `DeliveryTable`. */
  next: Delivery | undefined = undefined
  earlier: PendingDelivery | undefined = undefined
  later: PendingDelivery | undefined = undefined

  constructor(id: number, command: Command, rank: number, target: Peer, finisher: Finisher) {
    this.id = id
    this.command = command
    this.rank = rank
    this.target = target
    this.#finisher = finisher
  }

  send(): boolean {
    this.sent = !this.ended
    return this.sent
  }

  abandon(): void {
    this.#finisher.finish(this, this.sent ? "lost" : "undelivered")
  }
}

/** Ends all deliveries that the peer has not answered, in order, because it has left its group. */
export const abandonDeliveries = (peer: Peer): void => {
  let first = peer.lastDelivery
  while (first?.earlier !== undefined) first = first.earlier
  for (let delivery = first, later: PendingDelivery | undefined; delivery !== undefined; delivery = later) {
    later = delivery.later
    delivery.abandon()
  }
}
