/**
 * Decodes a line, applies the guards, and runs the verb. All guards are here, in one order;
 * the table of `verbs` says which a verb needs. Scanned commands and results bypass it: the
 * `Reader` scans them, because millions come in a second.
 */
import { Result } from "effect"
import type { Codec } from "../../protocol/Codec.ts"
import type { ClientMessage } from "../../protocol/Messages.ts"
import type { ClientSession } from "./ClientSession.ts"
import { mayChangeOrder, mayIssue, needsToken } from "./guards.ts"
import { reject, type Step } from "./Step.ts"
import { type Verb, verbs } from "./verbs.ts"

/** It keeps a byte order mark, so that the decoder rejects it. */
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })

/** The id of a tracked command, for its rejection. */
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
  // The first `Hello` counts in no limit: a program begins with it.
  const isFree = message._tag === "Hello" && !session.greeted
  const rejected =
    (verb.issues ? mayIssue(session, state, idOf(message)) : undefined) ??
    (verb.changesOrder && !isFree ? mayChangeOrder(session, state) : undefined)
  return rejected ?? verb.run(session, message, state)
}
