/** The rule: a command travels only down. Finds the ranks that a command reaches in the present order, or why it reaches none. */
import { memberNumberOf } from "../../protocol/Ids.ts"
import type { Reason } from "../../protocol/Reasons.ts"
import type { Target } from "../../protocol/Target.ts"
import * as Roster from "../../rank/Roster.ts"

/** The ranks from `first` to `last`, both included; or the reason why the command reaches none. */
export type Reach = { readonly first: number; readonly last: number } | Reason

/** Why rank `issuer` may not command the ranks `first` to `last` in a group of `size`; undefined if it may. */
export const judge = (issuer: number, size: number, first: number, last: number): Reason | undefined => {
  if (first <= issuer) return "rank too high"
  if (last >= size) return "no such rank"
  return undefined
}

/** The ranks that a command to `to` from rank `issuer` reaches. */
export const reach = (roster: Roster.Roster<unknown>, issuer: number, to: Target): Reach => {
  const size = Roster.size(roster)
  switch (to._tag) {
    case "Rank":
      return judge(issuer, size, to.rank, to.rank) ?? { first: to.rank, last: to.rank }
    case "Range":
      return judge(issuer, size, to.first, to.last) ?? to
    case "Everyone":
      return issuer + 1 < size ? { first: issuer + 1, last: size - 1 } : "nobody below"
    case "Member": {
      const rank = find(roster, to.who)?.rank
      if (rank === undefined) return "no such member"
      return judge(issuer, size, rank, rank) ?? { first: rank, last: rank }
    }
  }
}

/** The member with this name or id. No name has the form of a member id, so `who` is only one of them. */
export const find = <A>(
  roster: Roster.Roster<A>,
  who: string
): { readonly rank: number; readonly member: Roster.Member<A> } | undefined => {
  const number = memberNumberOf(who)
  const member = number === undefined ? Roster.byName(roster, who) : Roster.byId(roster, number)
  const rank = member && Roster.rankOf(roster, member.id)
  return member === undefined || rank === undefined ? undefined : { rank, member }
}
