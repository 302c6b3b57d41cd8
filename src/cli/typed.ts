/** What a person or a script types: a line of the protocol, text or JSON. */
import { Result, SubscriptionRef } from "effect"
import { type Link, PROTOCOL } from "../client/Link.ts"
import * as Json from "../protocol/Json.ts"
import type { ClientMessage, ServerMessage } from "../protocol/Message.ts"
import * as Text from "../protocol/Text.ts"

type Error = ServerMessage & { readonly _tag: "Error" }

/** What is to be said for a line that was typed; or what the server would answer, had it been sent the line. */
export const read = (line: string, { maxLine, standing }: Link): Result.Result<ClientMessage, Error> => {
  const now = SubscriptionRef.getUnsafe(standing)
  const rank = now === undefined ? {} : { rank: now.rank }
  const said = (line.startsWith("{") ? Json.readClient : Text.readClient)(line)
  if (Result.isFailure(said)) return Result.fail({ _tag: "Error", ...rank, ...said.failure })
  const message = said.success
  if (Buffer.byteLength(Json.writeClient(message)) >= maxLine()) {
    const id = "id" in message && message.id !== undefined ? { id: message.id } : {}
    return Result.fail({ _tag: "Error", ...id, ...rank, reason: "line too long", detail: `at most ${maxLine()} bytes` })
  }
  // `Hello` is answered with the name of the group that the client is in then; a second admission to the same is `Join`'s.
  if (message._tag === "Join" && message.group !== now?.group) {
    return Result.succeed({ _tag: "Hello", protocol: PROTOCOL, group: message.group })
  }
  return Result.succeed(message)
}
