/**
 * How messages become lines, and lines messages: the boundary between what is said
 * and how it is written. `text/TextCodec` and `json/JsonCodec` implement it.
 */
import type { Result } from "effect"
import type { ClientMessage, ServerMessage } from "./Messages.ts"

/**
 * Why a line is no message; `detail` is for people, `id` the tracked
 * command that it would have been. A plain value: a flood of bad lines must not cost a stack trace each.
 */
export interface Rejection {
  readonly reason: "unknown command" | "malformed"
  readonly detail?: string
  readonly id?: string
}

export interface Codec {
  /** What a client's line says. */
  readonly decodeClient: (line: string) => Result.Result<ClientMessage, Rejection>
  /** What a server's line says. */
  readonly decodeServer: (line: string) => Result.Result<ServerMessage, Rejection>
  /** The line, without its end, that says `message`. */
  readonly encodeClient: (message: ClientMessage) => string
  /** The line, without its end, that says `message`. */
  readonly encodeServer: (message: ServerMessage) => string
}
