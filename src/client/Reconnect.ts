/**
 * What outlives a connection: when a client connects again, and what its next `Hello` asks for.
 * It owns no socket; `Connection` runs each connection.
 *
 * Invariants: the wait before the next connection doubles after each short connection, from
 * `FIRST_WAIT` to `LONGEST_WAIT`. A `Hello` asks for the group and the name that the server confirmed
 * last, unless the app has asked for others since, and resumes only what the last `Welcome` offered. It has
 * the largest epoch of that group that this client has seen.
 */
import { Clock, Duration, Effect, Random } from "effect"
import { type ClientMessage, PROTOCOL_VERSION, type ServerMessage } from "../protocol/Messages.ts"
import type { Identity } from "./Identity.ts"
import type { Rejected } from "./Rejected.ts"

/** Long enough to spare a server that restarts; a random half of each wait spreads the clients that it disconnected. */
const FIRST_WAIT = Duration.millis(100)

/** Short enough that clients return soon after a long outage. A connection that lasted longer resets the wait. */
const LONGEST_WAIT = Duration.seconds(5)

const NANOS_PER_MILLI = 1_000_000

/**
 * Makes one connection after the other, for ever. `connect` runs one connection from its start to its end. No wait is
 * longer than `mostWait`, in milliseconds.
 */
export const reconnecting = Effect.fnUntraced(function* (
  connect: Effect.Effect<void>,
  mostWait: () => number = () => Number.POSITIVE_INFINITY
): Effect.fn.Return<never> {
  let shortConnections = 0
  while (true) {
    const start = yield* Clock.monotonicTimeNanos
    yield* connect
    const lasted = Number((yield* Clock.monotonicTimeNanos) - start) / NANOS_PER_MILLI
    // A server that accepts and closes at once is no better than one that is down.
    if (lasted > Duration.toMillis(LONGEST_WAIT)) shortConnections = 0
    const doubled = Duration.toMillis(FIRST_WAIT) * 2 ** shortConnections++
    const wait = Math.min(Duration.toMillis(LONGEST_WAIT), doubled, mostWait())
    yield* Effect.sleep(wait * (0.5 + (yield* Random.next) / 2))
  }
})

type Hello = ClientMessage & { readonly _tag: "Hello" }

/** The fields that servers of version 1 do not all know. An older server rejects the whole `Hello` for one of them. */
const ADDED = ["epoch", "lease"] as const

/** What the next `Hello` asks for. */
export class NextHello {
  #identity: Identity
  #resume: string | undefined
  #heartbeat: number
  #lease: boolean
  /** The largest epoch that this client has seen, by group. */
  readonly #epochs = new Map<string, number>()
  /** The added fields that the server may not know; forgotten with each welcome, because the next server may be newer. */
  readonly #unknown = new Set<(typeof ADDED)[number]>()

  /** `heartbeat` is in milliseconds. */
  constructor(identity: Identity, heartbeat: number, lease: boolean | undefined = false) {
    this.#identity = identity
    this.#heartbeat = heartbeat
    this.#lease = lease
  }

  /** In milliseconds. */
  get heartbeat(): number {
    return this.#heartbeat
  }

  /** Whether this client acts on its rank. A server that is too old to know of leases does not hear of it. */
  get hasLease(): boolean {
    return this.#lease
  }

  /** From now on this client acts on its rank, with this heartbeat. */
  lease(heartbeat: number): void {
    this.#lease = true
    this.#heartbeat = heartbeat
  }

  get message(): Hello {
    const { group } = this.#identity
    const epoch = group === undefined ? undefined : this.#epochs.get(group)
    const hello: { -readonly [field in keyof Hello]: Hello[field] } = {
      _tag: "Hello",
      protocol: PROTOCOL_VERSION,
      ...this.#identity,
      ...(this.#resume === undefined ? {} : { resume: this.#resume }),
      heartbeat: this.#heartbeat,
      ...(this.#lease ? { lease: true as const } : {}),
      ...(epoch === undefined ? {} : { epoch })
    }
    for (const field of this.#unknown) delete hello[field]
    return hello
  }

  /** Whether the server keeps the rank of this client for a while if the connection breaks. */
  get isResumable(): boolean {
    return this.#resume !== undefined
  }

  request(identity: Identity): void {
    this.#identity = { ...this.#identity, ...identity }
  }

  /**
   * Whether the server may have rejected the last `Hello` for an added field. Then the next message is without the
   * fields that the rejection names, or else without all of them. A server that rejects the heartbeat knows leases.
   */
  isSimplerAfter({ detail = "", reason }: Rejected): boolean {
    const sent = Object.keys(this.message)
    const added = ADDED.filter((field) => sent.includes(field))
    // Before it knows the token, a server says only that it needs one, whatever is wrong with the line.
    const isUnread = reason === "not authorized" && sent.includes("token") && detail.startsWith("say AUTH")
    if (!(reason === "malformed" || isUnread) || detail.startsWith("heartbeat:")) return false
    if (added.length === 0) {
      // It was none of them: the next server may know them.
      this.#unknown.clear()
      return false
    }
    const named = added.filter((field) => new RegExp(`\\b${field}\\b`).test(detail))
    for (const field of named.length > 0 ? named : added) this.#unknown.add(field)
    return true
  }

  /** Notes an epoch of this group. */
  saw(group: string, epoch: number): void {
    this.#epochs.set(group, Math.max(epoch, this.#epochs.get(group) ?? 0))
  }

  welcomed({ epoch, group, resume }: ServerMessage & { readonly _tag: "Welcome" }): void {
    this.request({ group })
    this.#unknown.clear()
    this.#resume = resume
    this.saw(group, epoch)
  }
}
