/** Why this client does not lead yet, in words: so that a person does not wait for nothing. */
import { Duration, Effect, Option, Stream, SubscriptionRef } from "effect"
import type { Standing } from "../../client/Connection.ts"
import type { RankClient } from "../../client/RankClient.ts"
import { blocked } from "../members.ts"

const MILLIS = 1000

/** Where this client has rank 0 and its command does not run yet. A command that runs under its own lease does not wait. */
export const waitsAt =
  ({ lead }: RankClient["Service"]) =>
  ({ leadIn = 0 }: Standing): string =>
    leadIn === 0 || lead.terms.present !== undefined
      ? ""
      : `; waits ${(leadIn / MILLIS).toFixed(1)}s: an earlier leader may still work`

/** A member may get its place before it asks for a lease. */
const LOOK_AFTER = Duration.seconds(1)

/** Members further behind do not look: the list of a large group is long. */
const MOST_LOOKING = 10

/** Reports a member that has rank 0 and does not lead, until the scope closes. */
export const reportBlocking = Effect.fnUntraced(function* (
  { roster, standing }: RankClient["Service"],
  notice: (message: string) => Effect.Effect<void>
) {
  const look = Effect.gen(function* () {
    yield* Effect.sleep(LOOK_AFTER)
    const members = yield* Stream.runHead(Stream.filter(roster, (members) => members.length > 0))
    const message = Option.getOrUndefined(Option.map(members, blocked))
    if (message !== undefined) yield* notice(message)
  })
  yield* SubscriptionRef.changes(standing).pipe(
    Stream.switchMap((now) =>
      now === undefined || now.rank === 0 || now.rank > MOST_LOOKING ? Stream.empty : Stream.fromEffect(look)
    ),
    Stream.runDrain,
    Effect.forkScoped
  )
})
