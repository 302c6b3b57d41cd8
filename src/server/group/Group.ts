/** A group as the server has it: its order, and who tells of it. */
import type { Scope } from "effect"
import { Effect } from "effect"
import type { RankRef } from "../../rank/RankRef.ts"
import type { Commands } from "../commands/Commands.ts"
import type { FlushQueue } from "../outbound/FlushQueue.ts"
import type { Client } from "../Peer.ts"
import * as Announcer from "./RankNotifier.ts"

export interface Group {
  readonly name: string
  readonly ranks: RankRef<Client>
  readonly announcer: Announcer.Announcer
}

export const make = Effect.fnUntraced(function* (
  name: string,
  ranks: RankRef<Client>,
  commands: Commands,
  touched: FlushQueue,
  stopping: () => boolean
): Effect.fn.Return<Group, never, Scope.Scope> {
  // Before the announcer's: what a member was to execute ends before others are told that it left.
  yield* ranks.observe((change) => {
    if (change._tag === "Left") commands.abandon(change.member.data)
  })
  return { name, ranks, announcer: yield* Announcer.make(ranks, touched, stopping) }
})
