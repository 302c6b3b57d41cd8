/** A group's members as a client gets them: made piece by piece as it reads them, so that a list of any length costs no memory. */
import { memberIdOf } from "../../protocol/Ids.ts"
import type { Listed } from "../../protocol/Messages.ts"
import * as Roster from "../../rank/Roster.ts"
import type { Peer } from "../Peer.ts"

/** Members in one piece. */
const PIECE = 128

/** Instead of the address of a member whose connection is lost. */
const ABSENT = "absent"

export const listed = ({ data, id, name }: Roster.Member<Peer>, rank: number): Listed => {
  const { absent, address } = data
  const member = { rank, member: memberIdOf(id), address: absent ? ABSENT : address }
  return name === undefined ? member : { ...member, name }
}

function* pieces(roster: Roster.Roster<Peer>): Generator<ReadonlyArray<Listed>> {
  const size = Roster.size(roster)
  for (let first = 0; first < size; first += PIECE) {
    yield Roster.slice(roster, first, Math.min(size, first + PIECE)).map((member, i) => listed(member, first + i))
  }
}

/** The members at the moment that `roster` is of, in the peer's encoding. */
export const memberList = ({ codec }: Peer, roster: Roster.Roster<Peer>): Generator<Uint8Array> =>
  codec.encodeMembers(pieces(roster), Roster.size(roster), roster.epoch)
