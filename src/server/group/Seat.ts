/** A member's seat in a group. It lasts until its scope closes, and may outlive the member's connection. */
import { Effect, Exit, Scope } from "effect"
import type { LeaveReason } from "../../protocol/Reasons.ts"
import type * as Roster from "../../rank/Roster.ts"
import type { Peer } from "../Peer.ts"
import type { Group } from "./Group.ts"

export interface Seat {
  readonly group: Group
  /** As of its admission; its name may be another by now. */
  readonly member: Roster.Member<Peer>
  readonly scope: Scope.Closeable
}

/** Gives the seat up; everybody behind it moves up. */
export const giveUp = ({ group, scope }: Seat, reason: LeaveReason): Effect.Effect<void> =>
  Effect.map(Scope.close(scope, Exit.succeed(reason)), () => group.notifier.changed())
