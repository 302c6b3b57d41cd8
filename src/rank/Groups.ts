/**
 * The groups of a server, by name. A group opens when the first client asks to enter it,
 * and closes when the last member has left. Member ids are unique across all groups. A
 * group that opens again continues with larger epochs.
 */
import type { Exit, Scope } from "effect"
import { Effect, RcMap } from "effect"
import { RankRef } from "./RankRef.ts"

export interface Groups<G> {
  /** The group with this name. It stays open until the scope closes, and while other members are in it. */
  readonly enter: (name: string) => Effect.Effect<G, never, Scope.Scope>
}

/** @param open makes a group around its order; the scope closes when the group closes */
export const make = Effect.fnUntraced(function* <A, Reason, G>(options: {
  readonly capacity: number
  readonly reasonOf: (exit: Exit.Exit<unknown, unknown>) => Reason
  readonly open: (name: string, ranks: RankRef<A, Reason>) => Effect.Effect<G, never, Scope.Scope>
}): Effect.fn.Return<Groups<G>, never, Scope.Scope> {
  const { capacity, open, reasonOf } = options
  let lastMemberId = 0
  let lastEpoch = 0
  const nextMemberId = () => ++lastMemberId

  const groups = yield* RcMap.make({
    lookup: Effect.fnUntraced(function* (name: string) {
      const ranks = new RankRef<A, Reason>({ capacity, reasonOf, nextMemberId, epoch: lastEpoch })
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          lastEpoch = Math.max(lastEpoch, ranks.snapshot().epoch)
        })
      )
      return yield* open(name, ranks)
    })
  })
  return { enter: (name) => RcMap.get(groups, name) }
})
