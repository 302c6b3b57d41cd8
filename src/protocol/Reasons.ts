/** Why a line was rejected, why a connection is closed, why a member left. */
import { Schema } from "effect"

/** Why a line was rejected: the first words of what follows `ERROR <rank>`. */
export const Reason = Schema.Literals([
  "unknown command",
  "rank too high",
  "no such rank",
  "no such member",
  "nobody below",
  "malformed",
  "line too long",
  "not authorized",
  "server full",
  "duplicate id",
  "too many open commands",
  "rate limited",
  "busy",
  "name taken",
  "stale epoch",
  "no such command",
  "shutting down"
])
export type Reason = typeof Reason.Type

/** Why the server closes a connection: `BYE <reason>`. */
export const ByeReason = Schema.Literals(["quit", "shutting down", "slow consumer", "timed out", "kicked"])
export type ByeReason = typeof ByeReason.Type

/** Why a member left: as watchers are told. It is what it was told with `BYE`, or what it did. */
export const LeaveReason = Schema.Literals([
  ...ByeReason.literals,
  /** It closed the connection. */
  "closed",
  /** The connection broke. */
  "reset",
  "line too long",
  /** It never was in the group that it asked for. */
  "server full",
  /** It was not let in. */
  "not authorized",
  /** It spoke HTTP. */
  "http",
  /** It is still connected. */
  "joined another group",
  /** The server failed while it served this client. */
  "internal error"
])
export type LeaveReason = typeof LeaveReason.Type
