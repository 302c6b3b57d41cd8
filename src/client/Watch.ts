/**
 * The members of the group, shared by all readers of `roster`: one watch on the server, from the first reader
 * to the last. Invariants: the list is empty while there is no connection; a list that may be out of date
 * is never emitted: after a new watch, readers wait for the server's `Roster`.
 */
import { Effect, Stream, SubscriptionRef } from "effect"
import type { ServerMessage } from "../protocol/Messages.ts"
import type { Connection } from "./Connection.ts"
import { type Listed, listed } from "./memberList.ts"

export interface Watch {
  readonly roster: Stream.Stream<ReadonlyArray<Listed>>
  /** The server has admitted the client. */
  readonly admitted: Effect.Effect<void>
  readonly heard: (message: ServerMessage) => Effect.Effect<void>
  readonly broken: Effect.Effect<void>
}

/** The list while there is no connection. */
const EMPTY: ReadonlyArray<Listed> = []

export const make = Effect.fnUntraced(function* ({ standing, tell }: Connection): Effect.fn.Return<Watch> {
  /** Undefined from the request to watch until the server's answer. */
  const members = yield* SubscriptionRef.make<ReadonlyArray<Listed> | undefined>(EMPTY)
  let readers = 0

  const start = Effect.suspend(() => {
    tell({ _tag: "Watch" })
    return SubscriptionRef.set(members, undefined)
  })

  const enter = Effect.suspend(() =>
    readers++ === 0 && SubscriptionRef.getUnsafe(standing) !== undefined ? start : Effect.void
  )

  const leave = Effect.suspend(() => {
    if (--readers > 0) return Effect.void
    tell({ _tag: "Unwatch" })
    return SubscriptionRef.update(members, (known) => (known === EMPTY ? known : undefined))
  })

  const lists = SubscriptionRef.changes(members).pipe(
    Stream.filter((members) => members !== undefined),
    Stream.changesWith((before, after) => before === after)
  )

  return {
    roster: Stream.unwrap(
      Effect.as(
        Effect.acquireRelease(enter, () => leave),
        lists
      )
    ),
    admitted: Effect.suspend(() => (readers > 0 ? start : Effect.void)),
    heard: (message) => {
      if (readers === 0) return Effect.void
      if (message._tag === "Roster") return SubscriptionRef.set(members, message.members)
      // Until the roster comes, changes belong to an earlier watch.
      return SubscriptionRef.update(members, (before) => before && listed(before, message))
    },
    broken: SubscriptionRef.set(members, EMPTY)
  }
})
