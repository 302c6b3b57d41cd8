/**
 * The groups of a server, by name. A group is made when the first asks to enter
 * it and gone when the last has left; it sees to it that no two members share an
 * id, whichever groups they are in, and that a group that comes again goes on
 * with larger epochs.
 */
import type { Scope } from "effect"
import { Effect, RcMap } from "effect"
import * as RankRef from "./RankRef.ts"

export interface Groups<G> {
  /** The group of this name; it stays until the scope closes, and as long as others are in it. */
  readonly enter: (name: string) => Effect.Effect<G, never, Scope.Scope>
}

/** The group of a client that asks for no other. */
export const DEFAULT_GROUP = "default"

/** @param open makes what a group is, beside its order; its scope closes when the group is gone */
export const make = Effect.fnUntraced(function* <A, G>(options: {
  readonly capacity: number
  readonly open: (name: string, ranks: RankRef.RankRef<A>) => Effect.Effect<G, never, Scope.Scope>
}): Effect.fn.Return<Groups<G>, never, Scope.Scope> {
  let lastMemberId = 0
  let lastEpoch = 0

  const groups = yield* RcMap.make({
    lookup: Effect.fnUntraced(function* (name: string) {
      const ranks = RankRef.make<A>({
        capacity: options.capacity,
        nextMemberId: () => ++lastMemberId,
        epoch: lastEpoch
      })
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          lastEpoch = Math.max(lastEpoch, ranks.snapshot().epoch)
        })
      )
      return yield* options.open(name, ranks)
    })
  })
  return { enter: (name) => RcMap.get(groups, name) }
})
