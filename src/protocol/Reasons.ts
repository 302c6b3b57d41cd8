/** Why the server rejects a line, why it closes a connection, why a member left. The words are the wire's. */
import { Schema } from "effect"

/** Why the server rejects a line: `ERROR <rank> <reason>`. */
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

/** Why a member left: `LEFT <rank> <member> <reason>`. The reason of its `BYE`, or one of those below. */
export const LeaveReason = Schema.Literals([
  ...ByeReason.literals,
  /** The client closed the connection. */
  "closed",
  /** The connection broke. */
  "reset",
  "line too long",
  /** The client was never admitted. */
  "server full",
  /** The client showed a wrong token. */
  "not authorized",
  /** The client spoke HTTP. */
  "http",
  /** The member is still connected. */
  "joined another group",
  /** The server failed while it served this client. */
  "internal error"
])
export type LeaveReason = typeof LeaveReason.Type
