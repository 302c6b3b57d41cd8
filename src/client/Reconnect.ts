/**
 * What outlives a connection: when a client connects again, and what its next `Hello` asks for.
 * It owns no socket; `Connection` runs each connection.
 *
 * Invariants: the wait before the next connection doubles after each short connection, from
 * `FIRST_WAIT` to `LONGEST_WAIT`. A `Hello` asks for the group and the name that the server confirmed
 * last, unless the app has asked for others since, and resumes only what the last `Welcome` offered.
 */
import { Clock, Duration, Effect, Random } from "effect"
import { type ClientMessage, PROTOCOL_VERSION, type ServerMessage } from "../protocol/Messages.ts"
import type { Identity } from "./Identity.ts"

/** Long enough to spare a server that restarts; a random half of each wait spreads the clients that it disconnected. */
const FIRST_WAIT = Duration.millis(100)

/** Short enough that clients return soon after a long outage. A connection that lasted longer resets the wait. */
const LONGEST_WAIT = Duration.seconds(5)

const NANOS_PER_MILLI = 1_000_000

/** Makes one connection after the other, for ever. `connect` runs one connection from its start to its end. */
export const reconnecting = Effect.fnUntraced(function* (connect: Effect.Effect<void>): Effect.fn.Return<never> {
  let shortConnections = 0
  while (true) {
    const start = yield* Clock.monotonicTimeNanos
    yield* connect
    const lasted = Number((yield* Clock.monotonicTimeNanos) - start) / NANOS_PER_MILLI
    // A server that accepts and closes at once is no better than one that is down.
    if (lasted > Duration.toMillis(LONGEST_WAIT)) shortConnections = 0
    const wait = Math.min(Duration.toMillis(LONGEST_WAIT), Duration.toMillis(FIRST_WAIT) * 2 ** shortConnections++)
    yield* Effect.sleep(wait * (0.5 + (yield* Random.next) / 2))
  }
})

/** What the next `Hello` asks for. */
export class NextHello {
  #identity: Identity
  #resume: string | undefined
  readonly #heartbeat: number

  /** `heartbeat` is in milliseconds. */
  constructor(identity: Identity, heartbeat: number) {
    this.#identity = identity
    this.#heartbeat = heartbeat
  }

  get message(): ClientMessage & { readonly _tag: "Hello" } {
    return {
      _tag: "Hello",
      protocol: PROTOCOL_VERSION,
      ...this.#identity,
      ...(this.#resume === undefined ? {} : { resume: this.#resume }),
      heartbeat: this.#heartbeat
    }
  }

  /** Whether the server keeps the rank of this client for a while if the connection breaks. */
  get isResumable(): boolean {
    return this.#resume !== undefined
  }

  request(identity: Identity): void {
    this.#identity = { ...this.#identity, ...identity }
  }

  welcomed({ group, resume }: ServerMessage & { readonly _tag: "Welcome" }): void {
    this.request({ group })
    this.#resume = resume
  }
}
