/**
 * One client's session: its state, and what other sessions may do to it (`Peer`).
 *
 * The states lead from `Connecting` to `Closing`. What is known in a state is a field of
 * that state. Invariant: only `close` begins `Closing`, and the first cause wins.
 */
import { type Effect, Fiber } from "effect"
import type { Transport } from "../../net/Transport.ts"
import type { Codec } from "../../protocol/Codec.ts"
import { firstCodec } from "../../protocol/codecs.ts"
import type { ServerMessage } from "../../protocol/Messages.ts"
import * as Roster from "../../rank/Roster.ts"
import type { Bearer } from "../admission/Access.ts"
import { Issuer } from "../commands/Command.ts"
import type { CloseCause, RefusalCause } from "../events/CloseCause.ts"
import type { Seat } from "../group/Seat.ts"
import type { Lease } from "../Lease.ts"
import { Outbox } from "../outbound/Outbox.ts"
import { NO_RANK, type Peer, type PendingDelivery } from "../Peer.ts"
import { wakeLater } from "../wakeLater.ts"
import { isOtherProtocol } from "./closings.ts"
import type { ServerContext } from "./ServerContext.ts"

/** The most bytes in a line of an unauthenticated client, with its LF. The longest token fits. */
const MAX_UNAUTHENTICATED_LINE = 4096

export interface Connecting {
  readonly _tag: "Connecting"
}

/** It must show a token before `deadline`, in milliseconds of the monotonic clock. */
export interface Unauthenticated {
  readonly _tag: "Unauthenticated"
  readonly deadline: number
}

/** It is authenticated and has no seat. With a `limit` the session ends at `deadline` for `cause`, unless it gets a seat. */
export interface AwaitingSeat {
  readonly _tag: "AwaitingSeat"
  readonly bearer: Bearer
  readonly limit: { readonly deadline: number; readonly cause: RefusalCause } | undefined
}

/** It is a member. */
export class Seated {
  readonly _tag = "Seated"
  readonly seat: Seat
  readonly bearer: Bearer
  /** Whether a guard must check its commands: it may issue none, or has a rate limit. */
  readonly checked: boolean
  /** The order when the session last looked, and the client's rank in it. */
  roster: Roster.Roster<Peer> = Roster.empty
  rank = 0

  constructor(seat: Seat, bearer: Bearer) {
    this.seat = seat
    this.bearer = bearer
    this.checked = bearer.rate !== undefined || !bearer.grant.issue
  }
}

export type Open = Connecting | Unauthenticated | AwaitingSeat | Seated

/** The client has ended its side, and gets the outcomes of its open commands. The session reads nothing more. */
export interface HalfClosed {
  readonly _tag: "HalfClosed"
  /** The state before: if it has a seat, the session must give it up. */
  readonly was: Open
}

export interface Closing {
  readonly _tag: "Closing"
  readonly cause: CloseCause
  /** More about the cause, for the operator. */
  readonly detail: string | undefined
  /** The state before: if it has a seat, the session must give it up. */
  readonly was: Open
}

export type State = Open | HalfClosed | Closing

export class ClientSession implements Peer {
  readonly context: ServerContext
  readonly transport: Transport
  readonly outbox: Outbox
  readonly #fiber: Fiber.Fiber<unknown, unknown>
  state: State = { _tag: "Connecting" }
  codec: Codec = firstCodec
  member = ""
  executes = true
  lastRankSent = NO_RANK
  lastDelivery: PendingDelivery | undefined = undefined
  lease: Lease | undefined = undefined
  /** Whether the client has sent anything since `Liveness` last looked. */
  heard = false
  /** Whether the client has sent `Hello`. */
  greeted = false
  /** How much it may still do before other sessions run, in deliveries. */
  budget = 0
  /** Undefined until its first tracked command: most clients never issue one. */
  #issuer: Issuer | undefined = undefined

  constructor(context: ServerContext, transport: Transport, fiber: Fiber.Fiber<unknown, unknown>) {
    this.context = context
    this.transport = transport
    this.outbox = new Outbox(context.outboxes, transport, (cause) => this.disconnect(cause))
    this.#fiber = fiber
  }

  get address(): string {
    return this.transport.address
  }

  get absent(): boolean {
    return this.context.reservations.isAbsent(this)
  }

  get leaving(): boolean {
    return "was" in this.state && !this.absent
  }

  get ended(): Effect.Effect<unknown> {
    return Fiber.await(this.#fiber)
  }

  /** The most bytes in a line, with its LF. */
  get maxLine(): number {
    const { maxLine } = this.context.settings
    const authenticated = this.state._tag === "Seated" || this.state._tag === "AwaitingSeat"
    return authenticated ? maxLine : Math.min(maxLine, MAX_UNAUTHENTICATED_LINE)
  }

  /** When it must have a seat or have shown a token, in milliseconds of the monotonic clock; undefined if there is no limit. */
  get deadline(): number | undefined {
    if (this.state._tag === "Unauthenticated") return this.state.deadline
    return this.state._tag === "AwaitingSeat" ? this.state.limit?.deadline : undefined
  }

  send(message: ServerMessage): boolean {
    return this.outbox.appendLine(this.codec.encodeServer(message))
  }

  /** The client as an issuer of tracked commands. */
  issuer(): Issuer {
    this.#issuer ??= new Issuer(this)
    return this.#issuer
  }

  /** Its tracked commands continue without it. */
  orphanCommands(): void {
    if (this.#issuer !== undefined) this.context.commands.orphan(this.#issuer)
    this.#issuer = undefined
  }

  /** Enters another state. If the session is already ending, it only notes the seat, to give it up. */
  enter(next: Open): void {
    if ("was" in this.state) this.state = { ...this.state, was: next }
    else this.state = next
    if (next._tag === "AwaitingSeat" || next._tag === "Seated") this.executes = next.bearer.grant.execute
  }

  /** The client has ended its side. Returns it as an issuer if it still waits for outcomes. */
  halfClose(): Issuer | undefined {
    if ("was" in this.state || this.#issuer === undefined || this.#issuer.open.size === 0) return undefined
    this.state = { _tag: "HalfClosed", was: this.state }
    return this.#issuer
  }

  /** Ends the session. `detail` is for the operator. */
  close(cause: CloseCause, detail?: string): void {
    const { state } = this
    if (state._tag === "Closing") return
    this.state = { _tag: "Closing", cause, detail, was: state._tag === "HalfClosed" ? state.was : state }
    this.outbox.close()
    // Waiting bytes must not reach a browser.
    if (isOtherProtocol(cause)) this.transport.cut()
  }

  /** Takes the seat from a session that ends, once: the caller must give it up or reserve it. */
  releaseSeat(): Seat | undefined {
    const { state } = this
    if (!("was" in state) || state.was._tag !== "Seated") return undefined
    const { bearer, seat } = state.was
    this.state = { ...state, was: { _tag: "AwaitingSeat", bearer, limit: undefined } }
    return seat
  }

  disconnect(cause: CloseCause): void {
    if (this.state._tag === "Closing") return
    this.close(cause)
    wakeLater(() => this.#fiber.interruptUnsafe())
  }

  /** Updates the order and the rank. If the rank has changed, the client gets it before anything that depends on it. */
  look(): void {
    const { state } = this
    if (state._tag !== "Seated") return
    const { group, member } = state.seat
    const roster = group.ranks.snapshot()
    if (roster === state.roster) return
    state.roster = roster
    state.rank = Roster.rankOf(roster, member.id) ?? NO_RANK
    group.notifier.tell(member, state.rank, roster)
  }

  /** Drops the order, so that an idle client keeps no old order in memory. */
  forgetOrder(): void {
    if (this.state._tag === "Seated") this.state.roster = Roster.empty
  }
}
