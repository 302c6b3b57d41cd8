/**
 * Decodes a line and does what it says, if the client may. All guards are applied here,
 * in order, as the table of `verbs` asks for them. The commands and results that come by
 * the million bypass it: the `Reader` scans them.
 */
import { Result } from "effect"
import type { Codec } from "../../protocol/Codec.ts"
import type { ClientMessage } from "../../protocol/Messages.ts"
import type { ClientSession } from "./ClientSession.ts"
import { mayChangeOrder, mayIssue, needsToken } from "./guards.ts"
import { reject, type Step } from "./Step.ts"
import { type Verb, verbs } from "./verbs.ts"

/** A byte order mark is no part of a verb: the decoder rejects it. */
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })

/** The id of a tracked command: a rejection carries it. */
const idOf = (message: ClientMessage): string | undefined => (message._tag === "Exec" ? message.id : undefined)

export const dispatch = (session: ClientSession, codec: Codec, line: Uint8Array): Step => {
  const { state } = session
  const decoded = codec.decodeClient(utf8.decode(line))
  if (Result.isFailure(decoded)) {
    const { detail, id, reason } = decoded.failure
    return state._tag === "Unauthenticated" ? needsToken(session, undefined) : reject(reason, detail, id)
  }
  const message = decoded.success
  const verb: Verb<ClientMessage> = verbs[message._tag]
  const showsToken = message._tag === "Hello" && message.token !== undefined
  if (state._tag === "Unauthenticated" && verb.needs !== "nothing" && !showsToken) {
    return needsToken(session, idOf(message))
  }
  if (state._tag !== "Seated") {
    return verb.needs === "seat"
      ? reject("not authorized", "say JOIN or Hello first", idOf(message))
      : verb.run(session, message)
  }
  // The first `Hello` is free: it is how a program begins.
  const isFree = message._tag === "Hello" && !session.greeted
  const rejected =
    (verb.issues ? mayIssue(session, state, idOf(message)) : undefined) ??
    (verb.changesOrder && !isFree ? mayChangeOrder(session, state) : undefined)
  return rejected ?? verb.run(session, message, state)
}
