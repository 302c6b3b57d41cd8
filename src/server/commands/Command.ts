/**
 * A tracked command and its deliveries, one for each target. A delivery ends exactly
 * once; a command is open until the last of its deliveries has ended.
 */
import type { Status } from "../../protocol/Messages.ts"
import type { Cancellable } from "../outbound/WriteBuffer.ts"
import type { Peer, PendingDelivery } from "../Peer.ts"

/** A client as an issuer of tracked commands: those that are open, by its own ids. */
export class Issuer {
  readonly peer: Peer
  readonly open = new Map<string, Command>()

  constructor(peer: Peer) {
    this.peer = peer
  }
}

/** What ends deliveries. */
export interface Finisher {
  /** Ends the delivery, unless it has ended. */
  readonly finish: (delivery: Delivery, status: Status) => void
}

/** Never added to: most commands have one delivery, and an empty array that grows takes room for many. */
const NO_DELIVERIES: Array<Delivery> = []

export class Command {
  /** The issuer's id for it. */
  readonly id: string
  /** Undefined once the issuer has left: the outcomes are then events, and nobody gets them. */
  issuer: Issuer | undefined
  /** The member id of the issuer. */
  readonly issuedBy: string
  /** Whether it is for a range or for everyone, so that `Done` follows the last outcome. */
  readonly several: boolean
  /** In milliseconds of the monotonic clock. */
  deadline: number
  /** How its open deliveries end, once it was withdrawn or ran out of time. */
  stopped: "cancelled" | "timeout" | undefined = undefined
  deliveries = NO_DELIVERIES
  /** How many deliveries are open, and the first that `stopped` has yet to end. */
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
  /** The server's id for it, towards the target. */
  readonly id: number
  readonly command: Command
  /** The target's rank when the command was routed. */
  readonly rank: number
  readonly target: Peer
  readonly #finisher: Finisher
  /** Whether the target's socket has its line: the target may have it. If not, it never will once the delivery has ended. */
  sent = false
  ended = false

  /** The next one in its bucket of the `DeliveryTable`. */
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

/** The peer can execute no more, for it has left its group: all that it has yet to answer ends, in order. */
export const abandonDeliveries = (peer: Peer): void => {
  let first = peer.lastDelivery
  while (first?.earlier !== undefined) first = first.earlier
  for (let delivery = first, later: PendingDelivery | undefined; delivery !== undefined; delivery = later) {
    later = delivery.later
    delivery.abandon()
  }
}
