/**
 * The groups of a server, by name. It hands out each group's `RankRef`, made when
 * first asked for, and sees to it that no two members share an id, whichever
 * groups they are in.
 */
import * as RankRef from "./RankRef.ts"

export interface Groups<A> {
  readonly get: (group: string) => RankRef.RankRef<A>
}

/** The group of a client that asks for no other. */
export const DEFAULT_GROUP = "default"

export const make = <A>(options: { readonly capacity: number }): Groups<A> => {
  const groups = new Map<string, RankRef.RankRef<A>>()
  let lastMemberId = 0
  const nextMemberId = () => ++lastMemberId

  return {
    get: (group) => {
      let ref = groups.get(group)
      if (ref === undefined) {
        ref = RankRef.make<A>({ capacity: options.capacity, nextMemberId })
        groups.set(group, ref)
      }
      return ref
    }
  }
}
