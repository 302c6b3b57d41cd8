/** What a person or a script types: a line of the protocol, text or JSON. */
import { Result, SubscriptionRef } from "effect"
import type { Connection } from "../client/Connection.ts"
import { jsonCodec } from "../protocol/json/JsonCodec.ts"
import { type ClientMessage, PROTOCOL_VERSION, type ServerMessage } from "../protocol/Messages.ts"
import { textCodec } from "../protocol/text/TextCodec.ts"

type Error = ServerMessage & { readonly _tag: "Error" }

/** What the server would answer to a line that it rejects. */
export const rejection = ({ standing }: Connection, fields: Omit<Error, "_tag" | "rank">): Error => {
  const now = SubscriptionRef.getUnsafe(standing)
  return { _tag: "Error", ...(now === undefined ? {} : { rank: now.rank }), ...fields }
}

/** What is to be said for a line that was typed; or what the server would answer, had it been sent the line. */
export const read = (line: string, link: Connection): Result.Result<ClientMessage, Error> => {
  const said = (line.startsWith("{") ? jsonCodec.decodeClient : textCodec.decodeClient)(line)
  if (Result.isFailure(said)) return Result.fail(rejection(link, said.failure))
  const message = said.success
  const maxLine = link.maxLine()
  if (Buffer.byteLength(jsonCodec.encodeClient(message)) >= maxLine) {
    const id = "id" in message && message.id !== undefined ? { id: message.id } : {}
    const detail = `at most ${maxLine} bytes, as JSON`
    return Result.fail(rejection(link, { ...id, reason: "line too long", detail }))
  }
  // `Hello` is answered with the name of the group that the client is in then; a second admission to the same is `Join`'s.
  if (message._tag === "Join" && message.group !== SubscriptionRef.getUnsafe(link.standing)?.group) {
    return Result.succeed({ _tag: "Hello", protocol: PROTOCOL_VERSION, group: message.group })
  }
  return Result.succeed(message)
}
