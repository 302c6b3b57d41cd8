/** Why a connection cannot be made, where trying again soon does not help, and what to do about it. */
import { Effect } from "effect"
import type { Socket } from "effect/socket"
import { Variables } from "../flags/rows.ts"
import type { Connecting } from "./flags.ts"
import { tlsError } from "./tlsError.ts"

/** Undefined where the connection failed for another reason. */
export const lastingError = Effect.fnUntraced(function* ({ host }: Connecting, error: Socket.SocketError) {
  const { reason } = error
  const { code } = ("cause" in reason ? (reason.cause ?? {}) : {}) as Partial<NodeJS.ErrnoException>
  const name = (yield* Variables).get("host")?.withValue ?? host
  const advice = "Name another server with --host, or give its address"
  if (code === "ENOTFOUND") return `the name ${name} does not resolve. ${advice}`
  if (code === "EAI_AGAIN") return `the name service cannot resolve ${name} now. ${advice}`
  return tlsError(error)
})
