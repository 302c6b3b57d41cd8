/**
 * Finds clients that are gone or frozen without a word, of those that asked for it with
 * the heartbeat of their `Hello`. A client that says nothing for so long gets a `PING`;
 * one that is silent for two and a half times as long is timed out.
 *
 * A client costs no timer, and its bytes no look at the clock: they leave a mark, and one
 * sweep visits all clients. A mark that a sweep finds counts as heard at that moment, and
 * the time of a sweep grows by no more than has passed, so a client is never silent for
 * longer than it really was. Clients rely on that: see the lease in `client/Lease`. The
 * time grows by no more than two ticks, either: after the server itself was frozen, it
 * reads what came meanwhile before it judges anybody.
 */
import { Clock, Effect, type Scope } from "effect"
import type { FlushQueue } from "../outbound/FlushQueue.ts"
import type { Peer } from "../Peer.ts"
import { Sweeper } from "../Sweeper.ts"
import { monotonicMillis } from "../time.ts"

/** A sweep comes this often in milliseconds, or four times in the shortest heartbeat, within these bounds. */
const MIN_TICK = 25
const MAX_TICK = 250
const TICKS = 4

/** After so many heartbeats without a word a client is timed out. */
export const SILENCE = 2.5

/** A client that leaves a mark when it sends something. */
export interface Audible extends Peer {
  heard: boolean
}

/** In milliseconds, as are the times, which are those of the sweeps. */
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
  #now = 0

  constructor(flushQueue: FlushQueue) {
    this.#flushQueue = flushQueue
  }

  /** Sweeps until the scope closes. */
  readonly run: Effect.Effect<void, never, Scope.Scope> = Effect.suspend(() => this.#sweeper.run(this.#pass))

  /** Watches the client with this heartbeat in milliseconds, or as before. Returns the one that applies now, 0 for none. */
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
    const before = clock()
    yield* Effect.sleep(tick)
    this.#now += Math.min(2 * tick, clock() - before)
    this.#sweep()
    if (this.#watched.size === 0) this.#sweeper.rest()
  })

  #sweep(): void {
    const now = this.#now
    this.#shortest = Number.POSITIVE_INFINITY
    for (const [client, heartbeat] of this.#watched) {
      const { heardAt, interval, pingedAt } = heartbeat
      this.#shortest = Math.min(this.#shortest, interval)
      // The server does not read a client that has yet to read its answers; the outbox finds out if it never does.
      if (client.heard || client.outbox.readPaused) {
        client.heard = false
        heartbeat.heardAt = now
      } else if (now - heardAt >= SILENCE * interval) {
        this.#watched.delete(client)
        client.disconnect("heartbeat")
      } else if (now - Math.max(heardAt, pingedAt) >= interval) {
        heartbeat.pingedAt = now
        client.send({ _tag: "Ping" })
      }
    }
    this.#flushQueue.flush()
  }
}
