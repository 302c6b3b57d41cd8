/** The members of a group as a table. */
import type { Listed } from "../client/Watched.ts"
import { styled, table } from "./terminal.ts"

export const memberTable = (members: ReadonlyArray<Listed>, self: string | undefined): ReadonlyArray<string> => {
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
    styled("bold", head!),
    ...rows.map((row, rank) => (members[rank]!.member === self ? styled("dim", row) : row))
  ]
}
