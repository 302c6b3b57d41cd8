/** A member's seat in a group. It exists until its scope closes, and may outlive the member's connection. */
import { Effect, Exit, Scope } from "effect"
import type { LeaveReason } from "../../protocol/Reasons.ts"
import type * as Roster from "../../rank/Roster.ts"
import type { Peer } from "../Peer.ts"
import type { Group } from "./Group.ts"

export interface Seat {
  readonly group: Group
  /** The member at its admission: its name may have changed since. */
  readonly member: Roster.Member<Peer>
  readonly scope: Scope.Closeable
}

/** Gives up the seat for this reason, and all members behind it move up. */
export const giveUp = ({ group, scope }: Seat, reason: LeaveReason): Effect.Effect<void> =>
  Effect.map(Scope.close(scope, Exit.succeed(reason)), () => group.notifier.changed())
