/** The list of a group's members for a client. It is made piece by piece while the client reads, so that a long list uses no memory. */
import { memberIdOf } from "../../protocol/Ids.ts"
import type { Listed } from "../../protocol/Messages.ts"
import * as Roster from "../../rank/Roster.ts"
import type { Peer } from "../Peer.ts"

/** The number of members in a piece. */
const PIECE = 128

/** Stands in the list for the address of an absent member. */
const ABSENT = "absent"

/** A member as it appears in the list. */
export const listed = ({ data, id, name }: Roster.Member<Peer>, rank: number): Listed => {
  const { absent, address, lease } = data
  const member = { rank, member: memberIdOf(id), address: absent ? ABSENT : address }
  return {
    ...member,
    ...(name === undefined ? {} : { name }),
    ...(lease === undefined ? {} : { lease: true })
  }
}

function* pieces(roster: Roster.Roster<Peer>): Generator<ReadonlyArray<Listed>> {
  const size = Roster.size(roster)
  for (let first = 0; first < size; first += PIECE) {
    yield Roster.slice(roster, first, Math.min(size, first + PIECE)).map((member, i) => listed(member, first + i))
  }
}

/** The members of `roster`, in the peer's encoding. */
export const memberList = ({ codec }: Peer, roster: Roster.Roster<Peer>): Generator<Uint8Array> =>
  codec.encodeMembers(pieces(roster), Roster.size(roster), roster.epoch)
