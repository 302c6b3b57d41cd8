/** What a command knows about its connection: the client's own refs, and why there is no server yet. */
import { getSystemErrorMessage } from "node:util"
import { Duration, Option, SubscriptionRef } from "effect"
import type { Socket } from "effect/socket"
import type { Connection } from "../../client/Connection.ts"
import { hostInUrl } from "../../net/Subnet.ts"
import type { Connecting } from "./flags.ts"

export type Status = Pick<Connection, "standing" | "refused" | "failure">

/** How long a command waits for the server's first answer. */
export const PATIENCE = Duration.seconds(5)

/** What the system says, unless it is that nobody listens there. */
const systemReason = (error: Socket.SocketError | undefined): string => {
  const cause = error !== undefined && "cause" in error.reason ? error.reason.cause : undefined
  const { code, errno } = (cause ?? {}) as NodeJS.ErrnoException
  return errno === undefined || code === "ECONNREFUSED" ? "" : `: ${getSystemErrorMessage(errno)}`
}

/** Why no server has admitted the client, and what to do. A server that expects something else, such as TLS, closes without a word. */
export const unanswered = ({ ca, cert, host, port, tls }: Connecting, { failure }: Status) => {
  const server = `${hostInUrl(host)}:${port}`
  const last = SubscriptionRef.getUnsafe(failure)
  if (last === undefined || last.reason._tag === "SocketOpenError") {
    return {
      why: `no answer from ${server}${systemReason(last)}`,
      advice: "Start a server there with rankd serve, or name another with --host and --port"
    }
  }
  const why = `${server} closes the connection`
  if (Option.isSome(cert)) return { why, advice: "Is the certificate of --cert from a CA that it trusts?" }
  return { why, advice: tls || Option.isSome(ca) ? "Is it a rankd server?" : "If it speaks TLS, give --tls" }
}
