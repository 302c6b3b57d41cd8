/**
 * The boundary between messages and the bytes of a line. `text/TextCodec` and `json/JsonCodec` implement it,
 * `codecs` knows which one a line is for; nothing outside this folder asks which one a client speaks.
 *
 * Strings are for single messages. What the server writes for each of many targets (`exec`, `result`) or members
 * (`encodeMembers`) is bytes, and equals what `encodeServer` makes of the same message.
 */
import type { Result } from "effect"
import type { Line } from "./LineBytes.ts"
import type { ClientMessage, Listed, ServerMessage } from "./Messages.ts"
import type { Rejection } from "./Rejection.ts"

/** The lines that carry one command to its targets. */
export interface ExecLines {
  /** The line to one target; `id` is the server's, undefined for an untracked command. Valid until the next call. */
  line(id: number | undefined): Line
}

export interface Codec {
  /** Whether the decoder judges control characters. Where not, a line with one other than TAB is malformed undecoded. */
  readonly judgesControls: boolean
  /** The message in a client's line. */
  decodeClient(line: string): Result.Result<ClientMessage, Rejection>
  /** The message in a server's line. */
  decodeServer(line: string): Result.Result<ServerMessage, Rejection>
  /** The line, without its LF. */
  encodeClient(message: ClientMessage): string
  /** The line, without its LF. */
  encodeServer(message: ServerMessage): string
  /** A list of members, LFs included. Each piece is made when it is taken, so a list of any length costs no memory. */
  encodeMembers(pieces: Iterable<ReadonlyArray<Listed>>, size: number, epoch: number): Generator<Uint8Array>
  /** The lines of the command that is `bytes` from `start` to `end`. Valid until the next call. */
  exec(from: number, epoch: number, bytes: Uint8Array, start: number, end: number): ExecLines
  /**
   * A `RESULT#` with an exit code. Its output is `bytes` from `start` to `end`: UTF-8 without a backslash or
   * control character, so that text passes it on as it is; none where they are equal. Valid until the next call.
   */
  result(id: string, rank: number, status: number, bytes: Uint8Array, start: number, end: number): Line
}
