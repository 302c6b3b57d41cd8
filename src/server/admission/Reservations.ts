/**
 * Members' places. One that is given up is gone at once, and those behind it move up;
 * but where there is a grace, the place of a member whose connection is *lost* is held
 * for so long: the member stays where it is, absent, and whoever shows its secret is
 * that member from then on. A secret is kept as its digest alone.
 */
import { Context, Duration, Effect, Exit, type Fiber, Latch, Layer, Scope } from "effect"
import { Digest, SecureRandom } from "effect/crypto"
import { Base64Url } from "effect/encoding"
import { NetworkCount } from "../../net/Subnet.ts"
import type { LeaveReason } from "../../protocol/Reasons.ts"
import type * as Roster from "../../rank/Roster.ts"
import type { Commands } from "../commands/Commands.ts"
import type { Group } from "../group/Group.ts"
import { type Client, farewell } from "../Peer.ts"
import type { SettingsValues } from "../Settings.ts"

/** A place in a group; closing the scope gives it up. */
export interface Seat {
  readonly group: Group
  readonly member: Roster.Member<Client>
  readonly scope: Scope.Closeable
}

/** How a connection is lost; in any other way the member leaves for good. */
const LOST: ReadonlySet<LeaveReason> = new Set(["closed", "reset", "timed out", "internal error"])

/** Random bytes of a secret: nobody guesses 192 bits, so that a fast digest will do. */
const SECRET_BYTES = 24

/** What a secret is for. */
interface Place {
  readonly digest: string
  /** Who has it, or had it. */
  client: Client
  /** What is held; nothing while the client is connected. */
  held: Seat | undefined
  expiry: Fiber.Fiber<void> | undefined
  /** Whether another connection has shown the secret: then the client's is lost, however it ends. */
  claimed: boolean
  /** Open when it is held, and when it is gone. */
  readonly free: Latch.Latch
}

export interface Places {
  /** In it the seats are taken: they outlive connections, and end with the server. */
  readonly scope: Scope.Scope
  /** A new secret for the client's place, instead of an old one; none where there is no grace. */
  readonly issue: (client: Client) => Effect.Effect<string | undefined>
  /** Whether there is any place that somebody may come back to. */
  readonly any: () => boolean
  /** Gives up the places that are held for clients like these, before their time. */
  readonly giveUp: (gone: (client: Client) => boolean) => void
  /** Whether the client's place is held when it leaves now. */
  readonly holds: (client: Client) => boolean
  /** The client has left its seat: holds it, or gives it up. */
  readonly leave: (client: Client, seat: Seat) => Effect.Effect<void>
  /**
   * Has the client `take` the seat that the secret is for; whether there is one, and it
   * may be who that is and where. Who still has it is told `BYE kicked` first. Not to be
   * interrupted but while it waits for that.
   */
  readonly claim: (client: Client, secret: string, take: (seat: Seat) => Effect.Effect<void>) => Effect.Effect<boolean>
}

/** Whether both may have the same name, and be in the same groups. */
const sameBearer = (one: Client, other: Client) =>
  one.grant?.name === other.grant?.name && `${one.grant?.groups}` === `${other.grant?.groups}`

export const make = Effect.fnUntraced(function* (
  { grace, maxConnections, maxConnectionsPerAddress }: SettingsValues,
  commands: Commands
): Effect.fn.Return<Places, never, Scope.Scope> {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const { digest } = Context.get(yield* Layer.build(Digest.layerWebCrypto), Digest.Digest)
  const digestOf = (secret: string) =>
    Effect.map(digest(Digest.sha256, new TextEncoder().encode(secret)), Base64Url.encode)
  const any = !Duration.isZero(grace)
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const bySecret = new Map<string, Place>()
  const byClient = new Map<Client, Place>()
  /** The places that are held, by the address that their members had. */
  const absent = new NetworkCount()

  /** In a microtask: it resumes a fiber there and then. */
  const wake = ({ free }: Place) => queueMicrotask(() => free.openUnsafe())

  const forget = (place: Place | undefined) => {
    if (place === undefined) return
    bySecret.delete(place.digest)
    byClient.delete(place.client)
    wake(place)
  }

  /** As many are held as there may be connections: absent members are bounded like those who are there. */
  const isRoom = ({ address }: Client) => absent.total < maxConnections && absent.of(address) < maxConnectionsPerAddress

  const holds: Places["holds"] = (client) => {
    const place = byClient.get(client)
    if (place === undefined || place.held !== undefined) return false
    return place.claimed || (LOST.has(client.ending?.reason ?? "internal error") && isRoom(client))
  }

  /** When the grace is over, the member leaves as it would have when it was lost. */
  const expire = Effect.fnUntraced(function* (place: Place, { group, member, scope }: Seat) {
    place.expiry = undefined
    place.held = undefined
    absent.add(place.client.address, -1)
    forget(place)
    const { address, ending, member: id } = member.data
    yield* Effect.annotateLogs(Effect.logInfo("left"), { member: id, address, reason: ending?.reason })
    yield* Scope.close(scope, Exit.void)
    group.announcer.changed()
  })

  return {
    scope,
    any: () => bySecret.size > 0,
    giveUp: (gone) => {
      for (const place of [...bySecret.values()]) {
        const { expiry, held } = place
        if (held === undefined || !gone(place.client)) continue
        place.held = undefined
        expiry?.interruptUnsafe()
        fork(expire(place, held))
      }
    },
    holds,
    issue: (client) => {
      if (!any) return Effect.undefined
      const secret = Base64Url.encode(SecureRandom.randomBytesUnsafe(SECRET_BYTES))
      return Effect.map(digestOf(secret), (digest) => {
        forget(byClient.get(client))
        const place: Place = {
          digest,
          client,
          held: undefined,
          expiry: undefined,
          claimed: false,
          free: Latch.makeUnsafe(false)
        }
        bySecret.set(digest, place)
        byClient.set(client, place)
        return secret
      })
    },
    leave: (client, seat) =>
      Effect.suspend(() => {
        const place = byClient.get(client)
        if (place === undefined || !holds(client)) {
          forget(place)
          return Scope.close(seat.scope, Exit.void)
        }
        // What reaches it from now on is undelivered; what it was to execute ends as if it had left.
        client.absent = true
        client.outbox.close()
        commands.abandon(client)
        seat.group.announcer.unwatch(client)
        place.held = seat
        absent.add(client.address, 1)
        return Effect.map(Effect.forkIn(Effect.delay(expire(place, seat), grace), scope), (fiber) => {
          place.expiry = fiber
          wake(place)
        })
      }),
    claim: Effect.fnUntraced(function* (client, secret, take) {
      if (!any) return false
      const digest = yield* digestOf(secret)
      for (;;) {
        const place = bySecret.get(digest)
        if (place === undefined || !sameBearer(place.client, client)) return false
        if (place.client === client) return true
        const { expiry, held } = place
        if (held !== undefined) {
          absent.add(place.client.address, -1)
          // What it may still give in this second, it may not give twice by coming back.
          client.rate = place.client.rate
          forget(byClient.get(client))
          byClient.delete(place.client)
          byClient.set(client, place)
          place.client = client
          place.held = undefined
          place.expiry = undefined
          place.claimed = false
          place.free.closeUnsafe()
          expiry?.interruptUnsafe()
          yield* take(held)
          return true
        }
        place.claimed = true
        place.client.end(farewell("kicked"))
        yield* Effect.interruptible(place.free.await)
      }
    })
  }
})
