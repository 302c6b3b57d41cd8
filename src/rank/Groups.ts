/**
 * The groups of a server, by name. A group opens when the first client asks to enter it,
 * and closes when the last member has left. Member ids are unique across all groups.
 *
 * Invariant: a group that opens begins above the epochs of all groups that have closed, its
 * own earlier ones included, whatever the wall clock shows.
 */
import type { Exit, Scope } from "effect"
import { Effect, RcMap } from "effect"
import { RankRef } from "./RankRef.ts"
import * as Roster from "./Roster.ts"

export interface Groups<G> {
  /** The group with this name. It stays open until the scope closes, and while other members are in it. */
  readonly enter: (name: string) => Effect.Effect<G, never, Scope.Scope>
}

/** @param open makes a group around its order; the scope closes when the group closes */
export const make = Effect.fnUntraced(function* <A, Reason, G>(options: {
  readonly capacity: number
  readonly isPlaceholder?: (data: A) => boolean
  readonly reasonOf: (exit: Exit.Exit<unknown, unknown>) => Reason
  readonly open: (name: string, ranks: RankRef<A, Reason>) => Effect.Effect<G, never, Scope.Scope>
}): Effect.fn.Return<Groups<G>, never, Scope.Scope> {
  const { open, ...order } = options
  let lastMemberId = 0
  let lastEpoch = 0
  const nextMemberId = () => ++lastMemberId

  const groups = yield* RcMap.make({
    lookup: Effect.fnUntraced(function* (name: string) {
      const ranks = new RankRef<A, Reason>({ ...order, nextMemberId, epoch: lastEpoch })
      // When the last member leaves, and not when the group has closed: it may open again before that.
      yield* ranks.observe((_, roster) => {
        if (Roster.size(roster) === 0) lastEpoch = Math.max(lastEpoch, roster.epoch)
      })
      return yield* open(name, ranks)
    })
  })
  return { enter: (name) => RcMap.get(groups, name) }
})
