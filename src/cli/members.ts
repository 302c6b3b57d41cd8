/** The members of a group for people: as a table, and whether the group can have a leader. */
import type { Listed } from "../client/memberList.ts"
import { type Line, table } from "./terminal/text.ts"

const LEASE = "lease"

/** The members, with a column for leases if there are any. */
export const memberTable = (members: ReadonlyArray<Listed>, self: string | undefined): ReadonlyArray<Line> => {
  const leases = members.some(({ lease }) => lease)
  const [head, ...rows] = table([
    ["RANK", "MEMBER", "NAME", ...(leases ? ["LEASE"] : []), "ADDRESS"],
    ...members.map(({ address, lease, member, name, rank }) => [
      `${rank}`,
      member,
      name ?? "-",
      ...(leases ? [lease ? LEASE : "-"] : []),
      `${address ?? "-"}${member === self ? " (this command)" : ""}`
    ])
  ])
  return [
    { text: head!, style: "bold" },
    ...rows.map((text, rank): Line => (members[rank]!.member === self ? { text, style: "dim" } : { text }))
  ]
}

/** Why the members that have leases cannot lead; undefined if one of them has rank 0, or none has a lease. */
export const blocked = (members: ReadonlyArray<Listed>): string | undefined =>
  members.some(({ lease }) => lease) && !members[0]?.lease ? "rank 0 holds no lease: nobody leads" : undefined
