/**
 * The JSON encoding: one message, one object, one line, for programs. `_tag` names
 * the message; a key that it does not have is an error. What is said in text with
 * several lines (the members) is one message here.
 */
import { Result, Schema } from "effect"
import type { Codec, Rejection } from "../Codec.ts"
import { CommandId } from "../Ids.ts"
import { ClientMessage, ServerMessage } from "../Messages.ts"

const decodeClient = Schema.decodeUnknownResult(ClientMessage)
const decodeServer = Schema.decodeUnknownResult(ServerMessage)
const encodeClient = Schema.encodeSync(ClientMessage)
const isCommandId = Schema.is(CommandId)
const tags = new Set<unknown>(ClientMessage.members.map((member) => member.fields._tag.schema.literal))

/** Characters of a detail: it may quote a key of the client's, which may be as long as a line, and be escaped again. */
const MAX_DETAIL = 200

/** A Schema error on one line: what was expected, and where. DEL may be in a key that it quotes, and is in no line. */
const detailOf = ({ message }: Schema.SchemaError): string =>
  message
    .replace(/\s*\n\s*/g, " ")
    .replaceAll("\u007f", "\\u007f")
    .slice(0, MAX_DETAIL)
    .toWellFormed()

const strict = { onExcessProperty: "error" } as const

const parse = (line: string): unknown => {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

/** What a client said. */
const decodeClientLine = (line: string): Result.Result<ClientMessage, Rejection> => {
  const said = parse(line)
  if (typeof said !== "object" || said === null) {
    return Result.fail({ reason: "malformed", detail: "expected one JSON object on one line" })
  }
  const { _tag: tag, id } = said as { readonly _tag?: unknown; readonly id?: unknown }
  const withId = tag === "Exec" && isCommandId(id) ? { id } : {}
  if (!tags.has(tag)) return Result.fail({ reason: "unknown command" })
  return Result.mapError(
    decodeClient(said, strict),
    (error): Rejection => ({ reason: "malformed", detail: detailOf(error), ...withId })
  )
}

/** What the server said. */
const decodeServerLine = (line: string): Result.Result<ServerMessage, Rejection> =>
  Result.mapError(decodeServer(parse(line)), (error): Rejection => ({ reason: "malformed", detail: detailOf(error) }))

/** JSON escapes every control character but DEL, which no line may hold. */
export const stringify = (value: unknown): string => JSON.stringify(value).replaceAll("\u007f", "\\u007f")

/** The line, without its end, that says `message`. */
const encodeClientLine = (message: ClientMessage): string => stringify(encodeClient(message))

/** The line, without its end, that says `message`. */
const encodeServerLine = (message: ServerMessage): string => stringify(message)

export const jsonCodec: Codec = {
  decodeClient: decodeClientLine,
  decodeServer: decodeServerLine,
  encodeClient: encodeClientLine,
  encodeServer: encodeServerLine
}
