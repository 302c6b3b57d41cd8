/** Lines that a person or a script types, in text or JSON: the messages they are, or what is wrong with them. */
import { Result, SubscriptionRef } from "effect"
import type { Connection } from "../../client/Connection.ts"
import { codecOf } from "../../protocol/codecs.ts"
import { jsonCodec } from "../../protocol/json/JsonCodec.ts"
import { type ClientMessage, PROTOCOL_VERSION, type ServerMessage } from "../../protocol/Messages.ts"

type Error = ServerMessage & { readonly _tag: "Error" }

/** The answer of a server that rejects a line. */
export const rejection = ({ standing }: Connection, fields: Omit<Error, "_tag" | "rank">): Error => {
  const now = SubscriptionRef.getUnsafe(standing)
  return { _tag: "Error", ...(now === undefined ? {} : { rank: now.rank }), ...fields }
}

/** The message to send for a typed line; or the answer that the server would give to the line. A line may be indented. */
export const read = (typed: string, link: Connection): Result.Result<ClientMessage, Error> => {
  // A byte order mark counts as a space.
  const line = typed.trimStart()
  const decoded = codecOf(line.charCodeAt(0)).decodeClient(line)
  if (Result.isFailure(decoded)) return Result.fail(rejection(link, decoded.failure))
  const message = decoded.success
  const maxLine = link.maxLine()
  if (Buffer.byteLength(jsonCodec.encodeClient(message)) >= maxLine) {
    const id = "id" in message && message.id !== undefined ? { id: message.id } : {}
    const detail = `at most ${maxLine} bytes, as JSON`
    return Result.fail(rejection(link, { ...id, reason: "line too long", detail }))
  }
  // The answer to `Hello` names the group; `Join` is for a second admission to the same group.
  if (message._tag === "Join" && message.group !== SubscriptionRef.getUnsafe(link.standing)?.group) {
    return Result.succeed({ _tag: "Hello", protocol: PROTOCOL_VERSION, group: message.group })
  }
  return Result.succeed(message)
}
