/** The members of a group as a table for people. */
import type { Listed } from "../client/memberList.ts"
import { type Line, table } from "./terminal/text.ts"

export const memberTable = (members: ReadonlyArray<Listed>, self: string | undefined): ReadonlyArray<Line> => {
  const [head, ...rows] = table([
    ["RANK", "MEMBER", "NAME", "ADDRESS"],
    ...members.map(({ address, member, name, rank }) => [
      `${rank}`,
      member,
      name ?? "-",
      `${address ?? "-"}${member === self ? " (this command)" : ""}`
    ])
  ])
  return [
    { text: head!, style: "bold" },
    ...rows.map((text, rank): Line => (members[rank]!.member === self ? { text, style: "dim" } : { text }))
  ]
}
