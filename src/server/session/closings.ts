/** The end of a session on the wire, by its cause: the reason that watchers get, and the last line for the client. */
import type { ServerMessage } from "../../protocol/Messages.ts"
import type { ByeReason, LeaveReason, Reason } from "../../protocol/Reasons.ts"
import type { CloseCause, OtherProtocolCause, RefusalCause, SlowConsumerCause } from "../events/CloseCause.ts"

export interface Closing {
  /** For watchers, if the client has a seat. */
  readonly reason: LeaveReason
  /** The last line. Undefined if the client cannot read it, or must not get one. */
  readonly lastWords?: ServerMessage
}

const bye = (reason: ByeReason) => ({ reason, lastWords: { _tag: "Bye" as const, reason } })

/** A refused client never had a seat, so no watcher sees its `reason`. */
const refusal = (reason: Reason, detail?: string) => ({
  reason: "not authorized" as const,
  lastWords: { _tag: "Error" as const, reason, ...(detail === undefined ? {} : { detail }) }
})

const slowConsumers: { readonly [cause in SlowConsumerCause]: Closing } = {
  "pending bytes": bye("slow consumer"),
  "write deadline": bye("slow consumer"),
  "server total": bye("slow consumer"),
  unauthenticated: bye("slow consumer")
}

const refusals: { readonly [cause in RefusalCause]: ReturnType<typeof bye | typeof refusal> } = {
  "too many connections": refusal("server full", "too many connections"),
  "too many connections from the address": refusal("server full", "too many connections from your address"),
  "too many unauthenticated": refusal("busy", "too many connections that have shown no token"),
  "no name in the certificate": refusal("not authorized", "your certificate names nobody"),
  "wrong token": refusal("not authorized", "wrong token"),
  "token for another name": refusal("not authorized", "wrong token"),
  "authenticated too late": refusal("not authorized", "too late"),
  "no token in time": bye("timed out"),
  "no seat in time": bye("timed out"),
  "group full": refusal("server full"),
  "name taken": refusal("name taken"),
  "server shutting down": refusal("shutting down")
}

/** Watchers know one reason for all of them. */
const otherProtocols: { readonly [cause in OtherProtocolCause]: Closing } = {
  http: { reason: "http" },
  tls: { reason: "http" },
  "not UTF-8": { reason: "http" }
}

const closings: { readonly [cause in CloseCause]: Closing } = {
  ...slowConsumers,
  ...refusals,
  ...otherProtocols,
  quit: bye("quit"),
  closed: { reason: "closed" },
  reset: { reason: "reset" },
  heartbeat: bye("timed out"),
  "line too long": { reason: "line too long", lastWords: { _tag: "Error", reason: "line too long" } },
  "token revoked": bye("kicked"),
  "resumed elsewhere": bye("kicked"),
  "shutting down": bye("shutting down"),
  "internal error": { reason: "internal error" }
}

/** The reason that a refused client gets. */
export const refusalReasonOf = (cause: RefusalCause): string => refusals[cause].lastWords.reason

export const closingOf = (cause: CloseCause): Closing => closings[cause]

export const isRefusal = (cause: CloseCause): cause is RefusalCause => Object.hasOwn(refusals, cause)

export const isOtherProtocol = (cause: CloseCause): cause is OtherProtocolCause => Object.hasOwn(otherProtocols, cause)

export const isSlowConsumer = (cause: CloseCause): cause is SlowConsumerCause => Object.hasOwn(slowConsumers, cause)
