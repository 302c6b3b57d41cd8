/**
 * A group: its order, and what the server does after each change of the order. First the
 * deliveries of a departed member end, then watchers get the change, then it is an event.
 */
import { Effect, Exit, Schema, type Scope } from "effect"
import { memberIdOf } from "../../protocol/Ids.ts"
import { LeaveReason } from "../../protocol/Reasons.ts"
import type { RankRef } from "../../rank/RankRef.ts"
import * as Roster from "../../rank/Roster.ts"
import { abandonDeliveries } from "../commands/Command.ts"
import type { Events } from "../events/Events.ts"
import type { FlushQueue } from "../outbound/FlushQueue.ts"
import type { Peer } from "../Peer.ts"
import type { LeadIns } from "./LeadIns.ts"
import { type PeerChange, RankNotifier } from "./RankNotifier.ts"

export interface Group {
  readonly name: string
  readonly ranks: RankRef<Peer, LeaveReason>
  readonly notifier: RankNotifier
  /** Emits `leaderChanged` if rank 0 has another holder. To be called when a member stays that was about to leave. */
  readonly followLeader: () => void
}

const isLeaveReason = Schema.is(LeaveReason)

/** The reason of a departure. The exit that closes a seat's scope has it as its value; any other exit is an error of the server. */
export const leaveReasonOf = (exit: Exit.Exit<unknown, unknown>): LeaveReason =>
  Exit.isSuccess(exit) && isLeaveReason(exit.value) ? exit.value : "internal error"

export interface GroupOptions {
  readonly flushQueue: FlushQueue
  readonly events: Events
  readonly leadIns: LeadIns
  /** Whether the server is stopping: then departures promote no member. */
  readonly stopping: () => boolean
}

/** Makes the groups of a server. */
export const opening = ({ events, flushQueue, leadIns, stopping }: GroupOptions) =>
  Effect.fnUntraced(function* (
    name: string,
    ranks: RankRef<Peer, LeaveReason>
  ): Effect.fn.Return<Group, never, Scope.Scope> {
    const notifier = new RankNotifier(ranks, flushQueue, stopping, () => leadIns.of(name))
    /** The number of the member at rank 0. */
    let leader: number | undefined

    const emit = (change: PeerChange) => {
      const { data, id, name: memberName } = change.member
      const member = memberIdOf(id)
      switch (change._tag) {
        case "Joined":
          return events.joined(member, memberName, name, data.address)
        case "Left":
          return events.left(member, memberName, name, data.address, change.reason)
        case "Moved":
          return events.moved(member, memberName, name, change.from, change.to)
        case "Named":
          return events.named(member, change.member.name, name)
      }
    }

    const followLeader = (roster = ranks.snapshot()) => {
      const first = Roster.at(roster, 0)
      if (first?.id === leader || first?.data.leaving || stopping()) return
      leader = first?.id
      if (first !== undefined) events.leaderChanged(memberIdOf(first.id), first.name, name, roster.epoch)
    }

    yield* ranks.observe((change, roster) => {
      if (change._tag === "Left") abandonDeliveries(change.member.data)
      notifier.observe(change)
      emit(change)
      followLeader(roster)
    })
    yield* notifier.run
    return { name, ranks, notifier, followLeader }
  })
