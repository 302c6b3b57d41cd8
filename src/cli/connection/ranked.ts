/** For commands that need a server now: waits until the client has a rank, and fails when it gets none. */
import { Effect, Option, Stream, SubscriptionRef } from "effect"
import type { Standing } from "../../client/Connection.ts"
import type { Reason } from "../../protocol/Reasons.ts"
import { printable } from "../terminal/text.ts"
import { NoServer } from "./failures.ts"
import type { Connecting } from "./flags.ts"
import { lastingError } from "./lastingError.ts"
import { PATIENCE, type Status, unanswered } from "./status.ts"

const next = <A>(ref: SubscriptionRef.SubscriptionRef<A | undefined>): Effect.Effect<A> =>
  SubscriptionRef.changes(ref).pipe(
    Stream.filter((value) => value !== undefined),
    Stream.runHead,
    Effect.flatMap(Option.match({ onNone: () => Effect.never, onSome: Effect.succeed }))
  )

const advice: { readonly [reason in Reason]?: string } = {
  "not authorized": "Show a token that the server knows with --token-from or RANKD_TOKEN, or a certificate with --cert",
  "name taken": "Choose another with --name",
  "server full": "Raise --max-clients of the server, or try again when a member has left"
}

/** Succeeds with the client's rank and group. */
export const ranked = (options: Connecting, status: Status): Effect.Effect<Standing, NoServer> => {
  const { failure, refused, standing } = status
  const lasting = SubscriptionRef.changes(failure).pipe(
    Stream.runForEach(
      Effect.fnUntraced(function* (error) {
        const message = error && (yield* lastingError(options, error))
        if (message !== undefined) return yield* new NoServer({ message: printable(message) })
      })
    ),
    Effect.andThen(Effect.never)
  )
  const refusal = Effect.flatMap(next(refused), ({ message, reason }) =>
    Effect.fail(new NoServer({ message: printable(`not admitted: ${message}. ${advice[reason] ?? ""}`).trimEnd() }))
  )
  return Effect.raceAllFirst([next(standing), refusal, lasting]).pipe(
    Effect.timeoutOrElse({
      duration: PATIENCE,
      orElse: () => {
        const { advice, why } = unanswered(options, status)
        return Effect.fail(new NoServer({ message: `${why}. ${advice}` }))
      }
    })
  )
}
