/**
 * Finds the clients that are gone, or frozen, without a word; of those that asked
 * for it with the heartbeat of their `Hello`. One that says nothing for so long is
 * asked, and one that is silent for two and a half times as long leaves as `timed out`.
 *
 * A client costs no timer, and what it says no look at the clock: it leaves a mark,
 * and one sweep goes over all that are watched. What a sweep finds marked counts as
 * heard at that moment, and the time of a sweep grows by no more than has passed, so
 * a client is never silent for longer than it really was. Clients rely on that: see
 * the lease in `client/Lease`. It grows by no more than two ticks, either: after the
 * server itself was frozen, it reads what came meanwhile before it judges anybody.
 */
import type { Scope } from "effect"
import { Clock, Effect, Latch } from "effect"
import type { FlushQueue } from "../outbound/FlushQueue.ts"
import { type Client, farewell } from "../Peer.ts"

/** A sweep comes this often in milliseconds, or four times in the shortest heartbeat, within these bounds. */
const MIN_TICK = 25
const MAX_TICK = 250
const TICKS = 4

/** After so many heartbeats without a word a client is timed out. */
export const SILENCE = 2.5

const NANOS = 1_000_000n

interface Watched {
  /** In milliseconds, as are the times, which are those of the sweeps. */
  readonly heartbeat: number
  heardAt: number
  askedAt: number
}

export interface Liveness {
  /** Watches the client with this heartbeat, in milliseconds, or as before; the one that applies now, 0 for none. */
  readonly watch: (client: Client, heartbeat: number | undefined) => number
  readonly forget: (client: Client) => void
}

export const make = Effect.fnUntraced(function* (touched: FlushQueue): Effect.fn.Return<Liveness, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const watched = new Map<Client, Watched>()
  const any = Latch.makeUnsafe(false)
  let shortest = Number.POSITIVE_INFINITY
  let now = 0

  const sweep = () => {
    shortest = Number.POSITIVE_INFINITY
    for (const [client, its] of watched) {
      const { heartbeat } = its
      shortest = Math.min(shortest, heartbeat)
      // Who has yet to read what it asked for is not listened to; the outbox finds out if it does not read at all.
      if (client.heard || client.outbox.readPaused) {
        client.heard = false
        its.heardAt = now
      } else if (now - its.heardAt >= SILENCE * heartbeat) {
        watched.delete(client)
        client.end(farewell("timed out"))
      } else if (now - Math.max(its.heardAt, its.askedAt) >= heartbeat) {
        its.askedAt = now
        client.say({ _tag: "Ping" })
      }
    }
    touched.flush()
  }

  yield* Effect.forkScoped(
    Effect.gen(function* () {
      yield* any.await
      const tick = Math.min(MAX_TICK, Math.max(MIN_TICK, Math.floor(shortest / TICKS)))
      const before = clock.monotonicTimeNanosUnsafe()
      yield* Effect.sleep(tick)
      now += Math.min(2 * tick, Number((clock.monotonicTimeNanosUnsafe() - before) / NANOS))
      sweep()
      if (watched.size === 0) any.closeUnsafe()
    }).pipe(Effect.forever)
  )

  return {
    watch: (client, heartbeat = watched.get(client)?.heartbeat) => {
      if (heartbeat === undefined) return 0
      client.heard = true
      watched.set(client, { heartbeat, heardAt: now, askedAt: now })
      shortest = Math.min(shortest, heartbeat)
      // In a microtask: it resumes a fiber there and then, and this is in the middle of a batch.
      queueMicrotask(() => any.openUnsafe())
      return heartbeat
    },
    forget: (client) => {
      watched.delete(client)
    }
  }
})
