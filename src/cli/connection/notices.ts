/** For commands that wait for a server: prints on standard error when the client gets, changes or loses its rank. */
import { Console, Effect, Stream, SubscriptionRef } from "effect"
import type { Standing } from "../../client/Connection.ts"
import { json, printable } from "../terminal/text.ts"
import type { Connecting } from "./flags.ts"
import { lastingError } from "./lastingError.ts"
import { PATIENCE, type Status, unanswered } from "./status.ts"

/** Prints notices until the scope closes. None is printed twice in a row. `remark` is added to a new rank. */
export const notices = Effect.fnUntraced(function* (
  options: Connecting,
  status: Status,
  remark: (now: Standing) => string = () => ""
) {
  const { failure, refused, standing } = status
  let last: string | undefined
  const print = (text: string, value: object) => {
    if (text === last) return Effect.void
    last = text
    return Console.error(options.json ? json(value) : printable(`rankd: ${text}`))
  }
  const notConnected = (reason: string, text = reason) =>
    print(`${text}; trying again`, { _tag: "NotConnected", reason })
  let before: Standing | undefined
  const standings = Stream.runForEach(SubscriptionRef.changes(standing), (now) => {
    const previous = before
    before = now
    if (now === undefined) return previous === undefined ? Effect.void : notConnected("connection lost")
    if (previous?.rank === now.rank && previous.group === now.group) return Effect.void
    const { group, member, rank, size } = now
    return print(`rank ${rank} of ${size} in group ${group}, as ${member}${remark(now)}`, { _tag: "Ranked", ...now })
  })
  const refusals = Stream.runForEach(SubscriptionRef.changes(refused), (refusal) =>
    refusal === undefined ? Effect.void : notConnected(refusal.message, `not admitted: ${refusal.message}`)
  )
  const failures = Stream.runForEach(
    SubscriptionRef.changes(failure),
    Effect.fnUntraced(function* (error) {
      const message = error && (yield* lastingError(options, error))
      if (message !== undefined) yield* notConnected(message)
    })
  )
  const silence = Effect.delay(
    Effect.suspend(() => (last === undefined ? notConnected(unanswered(options, status).why) : Effect.void)),
    PATIENCE
  )
  yield* Effect.forkScoped(Effect.all([standings, refusals, failures, silence], { concurrency: 4, discard: true }))
})
