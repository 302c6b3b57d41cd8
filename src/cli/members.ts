/** The members of a group for people: as a table, and whether the group can have a leader. */
import type { Listed } from "../client/memberList.ts"
import { type Line, table } from "./terminal/text.ts"

/** The members, with a column for leases if there are any. */
export const memberTable = (members: ReadonlyArray<Listed>, self: string | undefined): ReadonlyArray<Line> => {
  const leases = members.some(({ lease }) => lease)
  const [head, ...rows] = table([
    ["RANK", "MEMBER", "NAME", ...(leases ? ["LEASE"] : []), "ADDRESS"],
    ...members.map(({ address, lease, member, name, rank }) => [
      `${rank}`,
      member,
      name ?? "-",
      ...(leases ? [lease ? "lease" : "-"] : []),
      `${address ?? "-"}${member === self ? " (this command)" : ""}`
    ])
  ])
  return [
    { text: head!, style: "bold" },
    ...rows.map((text, rank): Line => (members[rank]!.member === self ? { text, style: "dim" } : { text }))
  ]
}

/** Why the members that have leases cannot lead; undefined if one of them has rank 0, or none has a lease. */
export const blocked = (members: ReadonlyArray<Listed>): string | undefined => {
  const [first] = members
  if (first === undefined || first.lease || !members.some(({ lease }) => lease)) return undefined
  const name = first.name === undefined ? "" : ` (${first.name})`
  return `${first.member}${name} has rank 0 and no lease: nobody leads until it leaves or steps down`
}
