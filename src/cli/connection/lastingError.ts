/** Why a connection cannot be made, where trying again soon does not help, and what to do about it. */
import type { Socket } from "effect/socket"
import type { Connecting } from "./flags.ts"
import { tlsError } from "./tlsError.ts"

/** Undefined where the connection failed for another reason. */
export const lastingError = ({ host }: Connecting, error: Socket.SocketError): string | undefined => {
  const { reason } = error
  const { code } = ("cause" in reason ? (reason.cause ?? {}) : {}) as Partial<NodeJS.ErrnoException>
  const advice = "Name another server with --host, or give its address"
  if (code === "ENOTFOUND") return `the name ${host} does not resolve. ${advice}`
  if (code === "EAI_AGAIN") return `the name service cannot resolve ${host} now. ${advice}`
  return tlsError(error)
}
