/** A group's members, made piece by piece as the client reads them: a listing of any length costs no memory. */
import { jsonCodec, stringify } from "../../protocol/json/JsonCodec.ts"
import type { Listed } from "../../protocol/Messages.ts"
import { textCodec } from "../../protocol/text/TextCodec.ts"
import * as Roster from "../../rank/Roster.ts"
import type { Client } from "../Peer.ts"
import { memberId } from "./RankNotifier.ts"

/** Members in one piece. */
const PIECE = 128

/** Instead of the address of a member whose connection is lost. */
const ABSENT = "absent"

/** The member at this rank. */
export const listed = (roster: Roster.Roster<Client>, rank: number): Listed => {
  const member = Roster.at(roster, rank)!
  const { absent, address } = member.data
  const listed = { rank, member: memberId(member), address: absent ? ABSENT : address }
  return member.name === undefined ? listed : { ...listed, name: member.name }
}

const pieces = function* (roster: Roster.Roster<Client>) {
  const size = Roster.size(roster)
  for (let first = 0; first < size; first += PIECE) {
    yield Array.from({ length: Math.min(PIECE, size - first) }, (_, i) => listed(roster, first + i))
  }
}

/** `MEMBER` for each member, and `END`; in JSON one `Roster`. It is of the moment that `roster` is of. */
export function* listing(roster: Roster.Roster<Client>, encoding: Client["encoding"]): Generator<Uint8Array> {
  const { epoch } = roster
  const size = Roster.size(roster)
  if (encoding === "text") {
    for (const members of pieces(roster)) {
      yield Buffer.from(members.map((member) => `${textCodec.encodeServer({ _tag: "Member", ...member })}\n`).join(""))
    }
    yield Buffer.from(`${textCodec.encodeServer({ _tag: "End", size, epoch })}\n`)
    return
  }
  yield Buffer.from(jsonCodec.encodeServer({ _tag: "Roster", size, epoch, members: [] }).replace(/\]\}$/, ""))
  let separator = ""
  for (const members of pieces(roster)) {
    yield Buffer.from(separator + members.map(stringify).join(","))
    separator = ","
  }
  yield Buffer.from("]}\n")
}
