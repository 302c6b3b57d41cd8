/**
 * Detects frozen and unreachable clients, if they asked for a heartbeat in their `Hello`.
 * After a heartbeat of silence the client gets a `PING`; after two and a half heartbeats the
 * server disconnects it.
 *
 * A client costs no timer, and its bytes cost no look at the clock: they set a mark, and one
 * sweep visits all clients. A sweep that finds a mark counts the client as heard at that
 * moment. The sweep's clock is never ahead of the real time, so the measured silence is never
 * longer than the real one. Nor does a sweep add more than two ticks to its clock: after the
 * server itself was frozen, it reads the bytes that came meanwhile before it times out a client.
 *
 * Others may wait for the lease of a client to end, so the silence of a client with a lease is exact:
 * it counts from the time that its `Lease` notes. When a client times out that leads, or may lead
 * soon, a sweep runs. At rank 0 this is so whether or not the client reads its answers.
 */
import { Clock, Effect, type Scope } from "effect"
import { SILENCE } from "../Lease.ts"
import type { FlushQueue } from "../outbound/FlushQueue.ts"
import type { Peer } from "../Peer.ts"
import { Sweeper } from "../Sweeper.ts"
import { monotonicMillis } from "../time.ts"

/** A sweep runs `TICKS` times in the shortest heartbeat. The bounds of a tick are in milliseconds. */
const MIN_TICK = 25
const MAX_TICK = 250
const TICKS = 4

/** Clients with a lease time out to the millisecond if their rank is below this one: they may lead before the next tick. */
const EXACT_RANKS = 4

/** A client whose session sets a mark when the client sends something. */
export interface Audible extends Peer {
  heard: boolean
}

/** All in milliseconds; the times are those of the sweeps' clock. */
interface Heartbeat {
  readonly interval: number
  heardAt: number
  pingedAt: number
}

export class Liveness {
  readonly #flushQueue: FlushQueue
  readonly #watched = new Map<Audible, Heartbeat>()
  readonly #sweeper = new Sweeper()
  #shortest = Number.POSITIVE_INFINITY
  /** When the first of the clients times out that time out to the millisecond, if it stays silent. */
  #due = Number.POSITIVE_INFINITY
  #now = 0
  /** The real time of the last sweep. */
  #sweptAt = Number.NEGATIVE_INFINITY

  constructor(flushQueue: FlushQueue) {
    this.#flushQueue = flushQueue
  }

  /** Sweeps until the scope closes. */
  readonly run: Effect.Effect<void, never, Scope.Scope> = Effect.suspend(() => this.#sweeper.run(this.#pass))

  /**
   * Watches the client with this heartbeat in milliseconds; by default the one that it has.
   * Returns the heartbeat that applies now: 0 for none.
   */
  watch(client: Audible, interval = this.#watched.get(client)?.interval): number {
    if (interval === undefined) return 0
    client.heard = true
    this.#watched.set(client, { interval, heardAt: this.#now, pingedAt: this.#now })
    this.#shortest = Math.min(this.#shortest, interval)
    this.#sweeper.wake()
    return interval
  }

  forget(client: Audible): void {
    this.#watched.delete(client)
  }

  readonly #pass = Effect.gen({ self: this }, function* () {
    const clock = monotonicMillis(yield* Clock.Clock)
    const tick = Math.min(MAX_TICK, Math.max(MIN_TICK, Math.floor(this.#shortest / TICKS)))
    yield* Effect.sleep(Math.max(1, Math.min(tick, Math.ceil(this.#due - this.#now))))
    const now = clock()
    // Since the last sweep began: with many clients a sweep itself takes a while.
    const credited = Math.min(2 * tick, now - this.#sweptAt)
    this.#now += credited
    this.#sweep(credited, now)
    this.#sweptAt = now
    if (this.#watched.size === 0) this.#sweeper.rest()
  })

  /** @param credited the milliseconds since the last sweep, at most two ticks; `realNow` is not the sweeps' clock */
  #sweep(credited: number, realNow: number): void {
    const now = this.#now
    this.#shortest = Number.POSITIVE_INFINITY
    this.#due = Number.POSITIVE_INFINITY
    for (const [client, heartbeat] of this.#watched) {
      const { interval } = heartbeat
      this.#shortest = Math.min(this.#shortest, interval)
      // The server does not read from a client that has not read its answers. If it never does, the outbox detects it.
      const leads = client.lease !== undefined && client.lastRankSent === 0
      const unread = client.outbox.readPaused && !leads
      const lease = unread ? undefined : client.lease
      const silence = lease === undefined ? 0 : realNow - lease.heardAt
      const heard = lease === undefined ? client.heard || unread : silence <= realNow - this.#sweptAt
      client.heard = false
      if (heard) heartbeat.heardAt = Math.max(heartbeat.heardAt, now - Math.min(credited, silence))
      const { heardAt, pingedAt } = heartbeat
      if (now - heardAt >= SILENCE * interval) {
        this.#watched.delete(client)
        client.disconnect("heartbeat")
        continue
      }
      if (lease !== undefined && client.lastRankSent < EXACT_RANKS)
        this.#due = Math.min(this.#due, heardAt + SILENCE * interval)
      if (now - Math.max(heardAt, pingedAt) < interval) continue
      heartbeat.pingedAt = now
      client.send({ _tag: "Ping" })
    }
    this.#flushQueue.flush()
  }
}
