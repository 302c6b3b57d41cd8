/** The members of a group as a watcher knows them: what the server tells of changes, applied to a list. */
import type { ServerMessage } from "../protocol/Messages.ts"

export interface Listed {
  readonly rank: number
  readonly member: string
  readonly name?: string
  readonly address?: string
}

const ranked = (members: ReadonlyArray<Listed>): ReadonlyArray<Listed> =>
  members.map((member, rank) => (member.rank === rank ? member : { ...member, rank }))

/** The list after what `message` tells; the same list where it tells nothing of members. */
export const listed = (members: ReadonlyArray<Listed>, message: ServerMessage): ReadonlyArray<Listed> => {
  switch (message._tag) {
    case "Roster":
      return message.members
    case "Joined":
      return [...members, { rank: message.rank, member: message.member }]
    case "Left":
      return ranked(members.filter(({ member }) => member !== message.member))
    case "Moved":
      return ranked([
        ...members.filter(({ member }) => member !== message.member),
        ...members.filter(({ member }) => member === message.member)
      ])
    case "Named":
      return members.map((member) => (member.member === message.member ? { ...member, name: message.name } : member))
    default:
      return members
  }
}
