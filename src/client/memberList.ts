/** The members of a group, as a watching client knows them: each message about a change, applied to the list. */
import type { ServerMessage } from "../protocol/Messages.ts"

/** A member of the group. `address` and `lease` are missing for members that joined during the watch. */
export interface Listed {
  readonly rank: number
  readonly member: string
  readonly name?: string
  readonly address?: string
  /** Whether it has a lease: at rank 0, it leads. */
  readonly lease?: true
}

const ranked = (members: ReadonlyArray<Listed>): ReadonlyArray<Listed> =>
  members.map((member, rank) => (member.rank === rank ? member : { ...member, rank }))

/** The list after `message`; the same list, by identity, if the message is not about members. */
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
